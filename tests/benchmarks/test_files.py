"""The benchmark of files, with a tiny model and few rows."""

import json
from pathlib import Path

import pytest

from benchmarks.files import ENGINE, ITERABLE, JOB, main
from tests.compression.prepared_store import prepared

# It starts processes.
pytestmark = pytest.mark.slow


def test_a_job_its_engine_and_ctranslate2_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = prepared(tmp_path)
    record = tmp_path / "record.json"
    words = ["--store", context.store.root, "--rows", 8, "--repeats", 1, "--iterable", "original", "--json", record]

    main(list(map(str, words)))

    speeds = json.loads(record.read_text())["tokens_per_second"]
    assert speeds.keys() == {JOB, ENGINE, ITERABLE}
    assert all(speed > 0 for speed in speeds.values())
    assert f"| {JOB} |" in capsys.readouterr().out
