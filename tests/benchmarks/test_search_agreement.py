import json
from pathlib import Path

import pytest

from benchmarks.search_agreement import RUNTIMES, main
from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import Task
from tests.compression.tiny import EXAMPLES, tiny_artifact, tiny_context
from tests.families import Family

SAMPLES = 6


def test_greedy_search_agrees_on_every_runtime_and_the_first_is_as_good_as_itself(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)

    out = tmp_path / "found.json"
    asked = ["translation", "--samples", str(SAMPLES), "--beams", "1", "2", "--store", str(context.store.root)]

    main([*asked, "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [(row["beams"], row["name"]) for row in found] == [(beams, name) for beams in (1, 2) for name in RUNTIMES]
    assert [row["same"] for row in found[: len(RUNTIMES)]] == [1.0, 1.0, 1.0]
    assert found[3]["same"] == 1.0 and found[3]["bleu_above"] == "+0.00 [+0.00, +0.00]"
    assert all(row["tokens"] > 1 for row in found)


def test_the_table_names_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    file = tmp_path / "dev.pairs.jsonl"
    rows = ({"source": example.source, "target": example.target} for example in EXAMPLES)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert load_examples(Task.TRANSLATION, str(file)).split == "dev"

    main(["translation", "--data", str(file), "--samples", "3", "--beams", "1", "--store", str(context.store.root)])

    printed = capsys.readouterr().out
    assert "dev.pairs (dev), 3 samples" in printed
    assert printed.count("100.0%") == len(RUNTIMES)
