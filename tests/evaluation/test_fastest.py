from functools import partial

import pytest

from slimseq.evaluation.fastest import (
    Layout,
    choose_layout,
    choose_runtime,
    default_layout,
    even_layouts,
    fastest_in_its_layout,
    fastest_layout,
    fastest_runtime,
    fastest_variant,
    speeds_on_one_machine,
)
from slimseq.evaluation.host import available_cores, cpu_flags
from slimseq.models_store.measurements import MeasuredLayout, Performance
from tests.app.serving.artifacts import manifest
from tests.measured import measured_layout, performance

FLAGS = ["avx2", "avx512_vnni"]
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


@pytest.mark.parametrize(
    ("cores", "found"),
    [(1, [(1, 1)]), (2, [(1, 2), (2, 1)]), (6, [(1, 6), (2, 3), (3, 2), (6, 1)])],
)
def test_layouts_leave_no_core_idle_and_share_none(cores: int, found: list[tuple[int, int]]) -> None:
    assert even_layouts(cores) == [Layout(*each) for each in found]


def test_the_fastest_layout_is_that_of_such_a_machine_and_runtime() -> None:
    measured = [
        measured_layout(1, 2, 100),
        measured_layout(2, 1, 150),
        measured_layout(1, 2, 900, runtime=THEIRS),
        measured_layout(4, 1, 900, cores=4),
        measured_layout(1, 2, 900, cpu_flags=["neon"]),
    ]

    assert fastest_layout(measured, OURS, 2, []) == Layout(2, 1)
    assert fastest_layout(measured, THEIRS, 2, []) == Layout(1, 2)
    assert fastest_layout(measured, OURS, 8, []) is None


@pytest.mark.parametrize(
    ("measured", "found"),
    [
        ([measured_layout(1, 2, 100), measured_layout(2, 1, 150), measured_layout(1, 2, 140, runtime=THEIRS)], OURS),
        ([measured_layout(1, 2, 100), measured_layout(2, 1, 130), measured_layout(1, 2, 140, runtime=THEIRS)], THEIRS),
        # One alone says nothing of the other, nor do other batches, other machines or runtimes that are not here.
        ([measured_layout(1, 2, 100)], None),
        ([measured_layout(1, 2, 100), measured_layout(1, 2, 140, runtime=THEIRS, batch=1)], None),
        ([measured_layout(1, 2, 100), measured_layout(1, 2, 140, runtime=THEIRS, cores=4)], None),
        ([measured_layout(1, 2, 100), measured_layout(1, 2, 140, runtime="alien")], None),
    ],
)
def test_runtimes_are_compared_in_their_best_layouts(measured: list[MeasuredLayout], found: str | None) -> None:
    assert fastest_in_its_layout(measured, [OURS, THEIRS], 2, []) == found


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


def test_what_was_measured_counts_where_no_setting_does() -> None:
    tuned = manifest(layouts=[measured_layout(3, 5, 100, cores=available_cores(), cpu_flags=cpu_flags())])

    assert choose_layout(tuned, "onnxruntime") == Layout(3, 5)
    assert choose_layout(tuned, "ctranslate2") == default_layout(available_cores())
    assert choose_layout(tuned, "onnxruntime", workers=7) == default_layout(available_cores(), 7)


def test_a_runtime_that_was_tuned_here_counts_before_other_measurements() -> None:
    here = {"cores": available_cores(), "cpu_flags": cpu_flags()}
    alone = [performance(900, runtime=THEIRS, cpu_flags=cpu_flags()), performance(100, cpu_flags=cpu_flags())]
    tuned = [measured_layout(1, 2, 140, **here), measured_layout(1, 2, 100, runtime=THEIRS, **here)]

    assert choose_runtime(manifest(performance=alone), [OURS, THEIRS]) == THEIRS
    assert choose_runtime(manifest(performance=alone, layouts=tuned), [OURS, THEIRS]) == OURS


def test_each_variant_counts_with_its_own_runtime() -> None:
    slow = manifest(variant="slow", performance=[performance(900), performance(10, runtime=THEIRS)])
    fast = manifest(variant="fast", performance=[performance(100)])

    assert fastest_variant([(slow, THEIRS), (fast, OURS)]) is fast
    assert fastest_variant([(slow, OURS), (fast, OURS)]) is slow
