"""Which variant and which runtime count as the fastest, from measurements of several machines."""

from functools import partial
from typing import Any

import pytest

from slimseq.evaluation.fastest import (
    Layout,
    choose_layout,
    default_layout,
    even_layouts,
    fastest_of,
    fastest_runtime,
    speeds_on_one_machine,
)
from slimseq.evaluation.host import available_cores, cpu_flags, host_name
from slimseq.models_store.measurements import MeasuredLayout, Performance
from tests.app.serving.artifacts import manifest
from tests.measured import measured_layout, performance

FLAGS = cpu_flags()
HERE: dict[str, Any] = {"cores": available_cores(), "cpu_flags": FLAGS}
OURS, THEIRS = "onnxruntime", "ctranslate2"


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
        ([measured("a", 100, flags=["other"]), measured("b", 120, flags=["other"])], "a"),
    ],
)
def test_the_fastest_that_was_measured_alike_on_such_a_machine(found: list[Performance], chosen: str) -> None:
    assert fastest_runtime(manifest(performance=found), ["a", "b"]) == chosen


def test_speeds_are_those_of_the_machine_that_most_were_measured_on() -> None:
    old, new = partial(performance, host="old"), partial(performance, host="new")
    found = {"original": [new(1900), old(1000)], "quantized": [old(1800)], "unmeasured": []}

    assert speeds_on_one_machine(found) == {"original": 1000, "quantized": 1800}
    assert speeds_on_one_machine({"unmeasured": []}) == {}


def test_among_machines_with_as_many_speeds_this_kind_counts_and_the_largest_batch() -> None:
    found = {
        "a": [measured("x", 1), measured("x", 5, batch=1), measured("x", 30, flags=["other"])],
        "b": [measured("x", 2), measured("x", 4, batch=1), measured("x", 20, batch=16, flags=["other"])],
    }

    assert speeds_on_one_machine(found) == {"a": 1, "b": 2}


def test_this_machine_counts_before_others_of_its_kind_and_before_a_larger_batch() -> None:
    here = partial(performance, host=host_name(), cpu_flags=list(reversed(FLAGS)))
    found = {"a": [measured("x", 1), here(7)], "b": [measured("x", 2), here(6)]}

    assert speeds_on_one_machine(found) == {"a": 7, "b": 6}


@pytest.mark.parametrize(
    ("cores", "found"), [(1, [(1, 1)]), (2, [(1, 2), (2, 1)]), (6, [(1, 6), (2, 3), (3, 2), (6, 1)])]
)
def test_layouts_leave_no_core_idle_and_share_none(cores: int, found: list[tuple[int, int]]) -> None:
    assert even_layouts(cores) == [Layout(*each) for each in found]


def tuned(workers: int, threads: int, tokens_per_second: float, **more: Any) -> MeasuredLayout:
    """A measurement of a layout on this machine."""
    return measured_layout(workers, threads, tokens_per_second, **HERE | more)


@pytest.mark.parametrize(
    ("layouts", "found"),
    [
        ([tuned(1, 2, 100), tuned(2, 1, 150), tuned(1, 2, 140, runtime=THEIRS)], OURS),
        ([tuned(1, 2, 100), tuned(2, 1, 130), tuned(1, 2, 140, runtime=THEIRS)], THEIRS),
        # One alone says nothing of the other, nor do other batches, other machines or runtimes that are not here: then
        # the measurements without layouts count.
        ([tuned(1, 2, 100)], THEIRS),
        ([tuned(1, 2, 100), tuned(1, 2, 40, runtime=THEIRS, batch=1)], THEIRS),
        ([tuned(1, 2, 100), measured_layout(1, 2, 40, runtime=THEIRS, cores=available_cores() + 1)], THEIRS),
        ([tuned(1, 2, 100), tuned(1, 2, 40, runtime="alien")], THEIRS),
    ],
)
def test_runtimes_are_compared_in_their_best_layouts(layouts: list[MeasuredLayout], found: str) -> None:
    alone = [performance(900, runtime=THEIRS, cpu_flags=FLAGS), performance(100, cpu_flags=FLAGS)]

    assert fastest_runtime(manifest(performance=alone, layouts=layouts), [OURS, THEIRS]) == found


@pytest.mark.parametrize(
    ("cores", "workers", "threads", "found"),
    [
        (1, 0, 0, Layout(1, 1)),
        (2, 0, 0, Layout(2, 1)),
        (16, 0, 0, Layout(4, 4)),
        (8, 1, 0, Layout(1, 8)),
        (8, 0, 1, Layout(4, 1)),
        (2, 4, 0, Layout(4, 1)),
    ],
)
def test_cores_are_shared_out(cores: int, workers: int, threads: int, found: Layout) -> None:
    assert default_layout(cores, workers, threads) == found


def test_the_fastest_layout_on_such_a_machine_counts_where_none_is_set() -> None:
    others = [tuned(4, 1, 900, cores=available_cores() + 1), tuned(4, 1, 900, cpu_flags=["other"])]
    made = manifest(layouts=[tuned(1, 2, 90), tuned(3, 5, 100), *others])

    assert choose_layout(made, OURS) == Layout(3, 5)
    assert choose_layout(made, THEIRS) == default_layout(available_cores())
    assert choose_layout(made, OURS, workers=7) == default_layout(available_cores(), 7)


def test_what_was_not_measured_like_the_others_comes_last_and_is_named() -> None:
    slow, fast, alone = (manifest(variant=name) for name in ("slow", "fast", "alone"))
    found = {"slow": [performance(10)], "fast": [performance(100)], "alone": [performance(999, batch=16)]}

    assert fastest_of([slow, fast, alone], found) == (fast, ["alone"])
    assert fastest_of([alone], found) == (alone, [])
    assert fastest_of([slow], {"slow": []}) == (slow, ["slow"])
