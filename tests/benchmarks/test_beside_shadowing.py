import json
from pathlib import Path
from statistics import median

import pytest

from benchmarks.beside_shadowing import main
from slimseq.models_store.store import Store


def test_requests_are_measured_with_and_without_shadowing_in_turns(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    arguments = ["translation/quantized", "--clients", "2", "--seconds", "1", "--turns", "1", "--share", "1"]
    main([*arguments, "--store", str(embedded.root), "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))
    ratios = [turn["beside"]["p95_ms"] / turn["alone"]["p95_ms"] for turn in found["turns"]]
    assert len(ratios) == 1 and (found["clients"], found["share"]) == (2, 1)
    assert found["ratio"]["median"] == pytest.approx(median(ratios))
    assert found["compared_outputs"] > 0
    assert "translation/quantized, 2 clients, 100% shadowed" in capsys.readouterr().out


def test_a_base_model_has_nothing_to_shadow(embedded: Store) -> None:
    arguments = ["translation/original", "--clients", "1", "--seconds", "0.5", "--turns", "1", "--share", "1"]

    with pytest.raises(SystemExit, match=r"^error: no request was answered again"):
        main([*arguments, "--store", str(embedded.root)])
