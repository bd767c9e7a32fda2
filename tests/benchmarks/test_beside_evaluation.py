import json
from pathlib import Path
from statistics import median

import pytest

from benchmarks.beside_evaluation import main
from slimseq.models_store.store import Store


def test_requests_are_measured_with_and_without_an_evaluation_in_turns(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    arguments = ["translation/quantized", "--clients", "2", "--seconds", "1", "--turns", "1"]
    main([*arguments, "--store", str(embedded.root), "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))
    ratios = [turn["beside"]["p95_ms"] / turn["alone"]["p95_ms"] for turn in found["turns"]]
    assert len(ratios) == 1 and found["clients"] == 2
    assert found["ratio"]["median"] == pytest.approx(median(ratios))
    assert all(turn[name]["p95_ms"] > 0 and not turn[name]["errors"] for turn in found["turns"] for name in turn)
    assert "translation/quantized, 2 clients" in capsys.readouterr().out


def test_a_variant_that_is_not_there_ends_in_one_line(embedded: Store) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*translation has no variant 'huge'"):
        main(["translation/huge", "--store", str(embedded.root)])
