from functools import partial

import pytest

from slimseq.evaluation.fastest import fastest_runtime, speeds_on_one_machine
from slimseq.models_store.manifest import Performance
from tests.measured import performance

FLAGS = ["avx2", "avx512_vnni"]


def measured(
    runtime: str, speed: float, batch: int = 16, threads: int = 1, flags: list[str] | None = None
) -> Performance:
    flags = FLAGS if flags is None else flags
    return performance(speed, runtime=runtime, batch=batch, threads=threads, cpu_flags=flags)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([measured("a", 100), measured("b", 120)], "b"),
        ([measured("a", 130), measured("b", 120)], "a"),
        # Largest batch first: that is where speed is needed.
        ([measured("a", 100), measured("b", 120), measured("a", 90, 1), measured("b", 10, 1)], "b"),
        # Not measured alike, the preferred not measured at all, and measured on another kind of CPU.
        ([measured("a", 100), measured("b", 120, batch=1)], "a"),
        ([measured("b", 120)], "a"),
        ([measured("a", 100, flags=["neon"]), measured("b", 120, flags=["neon"])], "a"),
    ],
)
def test_the_fastest_that_was_measured_alike_on_such_a_machine(found: list[Performance], chosen: str) -> None:
    assert fastest_runtime(found, ["a", "b"], list(reversed(FLAGS))) == chosen


def test_a_single_runtime_needs_no_measurement() -> None:
    assert fastest_runtime([], ["a"], FLAGS) == "a"


def test_speeds_are_those_of_the_machine_that_most_were_measured_on() -> None:
    old, new = partial(performance, host="old"), partial(performance, host="new")
    found = {"original": [new(1900), old(1000)], "quantized": [old(1800)], "unmeasured": []}

    assert speeds_on_one_machine(found, FLAGS) == {"original": 1000, "quantized": 1800}
    assert speeds_on_one_machine({"unmeasured": []}, FLAGS) == {}


def test_among_machines_with_as_many_speeds_this_kind_counts_and_the_largest_batch() -> None:
    found = {
        "a": [measured("x", 1), measured("x", 5, batch=1), measured("x", 30, flags=["neon"])],
        "b": [measured("x", 2), measured("x", 4, batch=1), measured("x", 20, batch=16, flags=["neon"])],
    }

    assert speeds_on_one_machine(found, list(reversed(FLAGS))) == {"a": 1, "b": 2}
