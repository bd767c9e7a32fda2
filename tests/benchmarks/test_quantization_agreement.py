import json
from pathlib import Path

import pytest

from benchmarks.quantization_agreement import FLOAT, WAYS, main
from slimseq.models_store.manifest import Task
from tests.compression.tiny import EXAMPLES, tiny_artifact, tiny_context
from tests.families import Family


@pytest.mark.parametrize("family", list(Family))
def test_every_way_to_quantize_generates_and_the_float_model_agrees_with_itself(family: Family, tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, family, tmp_path)

    out = tmp_path / "found.json"
    asked = ["translation", "--samples", "4", "--repeats", "1", "--store", str(context.store.root)]

    main([*asked, "--json", str(out)])

    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows] == [FLOAT, *WAYS]
    assert rows[0]["same"] == 1.0
    assert all(row["seconds"] > 0 for row in rows)
    assert context.store.variants(Task.TRANSLATION) == ["original"]


def test_the_table_names_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)

    asked = ["translation", "--samples", "3", "--repeats", "1", "--store", str(context.store.root)]
    main([*asked, "--ways", "feed-forward: blocks", "one scale a tensor"])

    printed = capsys.readouterr().out
    assert "sample (test), 3 samples, greedy" in printed
    assert "float32" in printed


def test_examples_of_one_collection_are_taken_wherever_they_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)
    data = tmp_path / "mixed.jsonl"
    pairs = [{"source": example.source, "target": example.target} for example in EXAMPLES[:4]]
    data.write_text(
        "".join(json.dumps(pair | {"origin": "ab"[number % 2]}) + "\n" for number, pair in enumerate(pairs))
    )
    asked = ["translation", "--data", str(data), "--repeats", "1", "--store", str(context.store.root)]

    main([*asked, "--origin", "b", "--samples", "2", "--beams", "2", "--ways", "one scale a tensor"])
    assert "mixed, b (" in (printed := capsys.readouterr().out)
    assert "2 samples, 2 beams" in printed

    with pytest.raises(SystemExit, match=r"^error: .*no examples of c"):
        main([*asked, "--origin", "c"])
