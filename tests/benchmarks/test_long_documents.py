import json
from pathlib import Path

import pytest

from benchmarks.long_documents import main
from slimseq.models_store.store import Store


def test_methods_are_compared_on_single_documents_and_on_several_articles(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    few = ["--documents", "2", "--articles", "4", "--groups", "1"]

    main(["summarization/quantized", *few, "--store", str(embedded.root), "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))
    single = {row["name"]: row for row in found["single"]}
    joined = {row["name"]: row for row in found["joined"]["blank lines between them"]}
    assert single["truncate"]["rouge1_above"] == [0, 0, 0] and single["lead-3"]["rouge1"] > 0
    assert joined["truncate"]["covered"] <= 0.5
    assert joined["map_reduce"]["covered"] > joined["truncate"]["covered"]
    assert joined["map_reduce"]["rouge1_lead_1"][1] > joined["truncate"]["rouge1_lead_1"][1]
    assert "| map_reduce |" in capsys.readouterr().out
