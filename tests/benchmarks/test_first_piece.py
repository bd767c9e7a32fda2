import json
from pathlib import Path

import pytest

from benchmarks.first_piece import main
from slimseq.models_store.store import Store


def test_with_beams_too_the_first_piece_comes_before_the_end(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    main(["summarization/quantized", "--texts", "3", "--store", str(embedded.root), "--json", str(out)])

    medians = json.loads(out.read_text(encoding="utf-8"))["medians"]
    assert list(medians) == ["4", "1"]
    assert all(each["first_ms"] < each["whole_ms"] for each in medians.values())
    assert "| greedy |" in capsys.readouterr().out
