"""The benchmark of two commits, with loads of half a second."""

import json
import subprocess
from pathlib import Path
from statistics import median

import pytest

from benchmarks.loads.turns import Ratio
from benchmarks.regression import BASELINE, main
from slimseq.models_store.store import Store

# It starts servers.
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
COMMIT = BASELINE.read_text(encoding="ascii").strip()
SHORT = ("--seconds", "0.5")
FIGURES = {"answers a second, 32 clients": "requests_per_second", "p50, one client": "p50_ms"}


def test_a_commit_is_measured_in_turns_with_another(
    embedded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    main(["HEAD", "--store", str(embedded.root), "--json", str(out), *SHORT, "--rounds", "2"])

    found = json.loads(out.read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    assert printed.startswith(f"translation/quantized on {found['host']}: this checkout over HEAD\n")
    assert set(found["ratios"]) == set(FIGURES)
    assert len(found["rounds"]) == 2
    for load, figure in FIGURES.items():
        here, there = ([each[load][name] for each in found["rounds"]] for name in ("slimseq", "before"))
        ratios = [ours[figure] / theirs[figure] for ours, theirs in zip(here, there, strict=True)]
        expected = Ratio(median(ratios), min(ratios), max(ratios))
        assert not any(figures["errors"] for figures in (*here, *there))
        assert Ratio(**found["ratios"][load]) == expected
        assert f"  {load}: {expected}\n" in printed


@pytest.mark.skipif(
    bool(subprocess.run(["git", "-C", ROOT, "cat-file", "-e", COMMIT], capture_output=True).returncode),
    reason="this is no clone with the baseline's commit",
)
def test_without_a_commit_the_baseline_is_measured_whose_packages_have_other_names(
    embedded: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--store", str(embedded.root), *SHORT, "--rounds", "1"])

    printed = capsys.readouterr().out
    assert f": this checkout over {COMMIT}\n" in printed
    assert "did not answer" not in printed


def test_a_commit_that_does_not_exist_is_refused_in_one_line(embedded: Store) -> None:
    with pytest.raises(SystemExit, match=r"^error: commit nothing: "):
        main(["nothing", "--store", str(embedded.root)])
