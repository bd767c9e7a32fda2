"""The benchmark of files on a cluster, with few rows and short steps."""

import json
from pathlib import Path

import pytest

from slimseq.evaluation.bulk import windows
from slimseq.models_store.store import Store

pytest.importorskip("ray.data", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from benchmarks.cluster_files import main

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
def test_one_and_two_engines_are_measured(
    embedded: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Restored at the end: the command changes it.
    monkeypatch.setattr(windows, "WINDOW_ROWS", windows.WINDOW_ROWS)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    record = tmp_path / "record.json"
    words = ["--store", embedded.root, "--workers", 1, 2, "--parts", 4, "--rows", 8, "--step", 0.05, "--json", record]

    main(list(map(str, words)))

    jobs = json.loads(record.read_text())["jobs"]
    # The middle half of four parts of eight rows, and of eight.
    assert [(job["workers"], job["rows"]) for job in jobs] == [(1, 16), (2, 32)]
    assert all(job["seconds"] > 0 and 0 < job["share"] <= 1 for job in jobs)
    assert "| engines | rows | seconds | share of kernels | of linear |" in capsys.readouterr().out
