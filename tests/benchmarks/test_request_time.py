"""The times of the steps of a request, measured with tiny models."""

import json
from pathlib import Path

import pytest

from benchmarks.request_time import main, medians
from benchmarks.systems.timed_service import AFTERWARDS, STEPS
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_store
from tests.families import Family


def test_the_steps_of_a_request_but_the_log_add_up_to_its_total() -> None:
    times = [{name: dict.fromkeys(STEPS, factor * 10.0) for name in ("time_us", "loop_us")} for factor in (1, 2, 5)]

    found = medians(times)

    for steps, total in (("time_us", "total_us"), ("loop_us", "loop_total_us")):
        assert found[steps] == dict.fromkeys(STEPS, 20.0)
        assert found[total] == sum(time for step, time in found[steps].items() if step != AFTERWARDS)


# It starts servers.
@pytest.mark.slow
def test_every_step_of_a_request_takes_time_within_its_total(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "request.json"
    store = tiny_store(tmp_path / "store", Family.T5).store
    options = ["--translation", "original", "--summarization", "", "--seconds", "1", "--threads", "1"]

    main(["--store", str(store.root), "--json", str(file), *options])

    [found] = json.loads(file.read_text(encoding="utf-8"))["requests"]
    assert found["task"] == Task.TRANSLATION.value
    assert found["answers"] > 0
    assert all(found["time_us"][step] > 0 for step in STEPS)
    # Each step of a request is within its total, and so are their medians, however busy the machine is.
    assert all(found["time_us"][step] < found["total_us"] for step in STEPS if step != AFTERWARDS)
    assert found["total_us"] < found["client_us"]
    # The engine runs on a thread of its own.
    assert found["loop_us"]["steps"] == found["loop_us"]["encode"] == 0
    assert 0 < found["loop_us"]["parse"] <= 1.1 * found["time_us"]["parse"]
    printed = capsys.readouterr().out
    assert "| step | what it is | translation/original" in printed
    assert all(f"\n| {step} |" in printed for step in STEPS)
