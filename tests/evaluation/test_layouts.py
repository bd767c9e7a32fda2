import pytest

from slimseq.evaluation.layouts import Layout, even_layouts, fastest_in_its_layout, fastest_layout
from slimseq.models_store.manifest import MeasuredLayout
from tests.measured import measured_layout

OURS, THEIRS = "onnxruntime", "ctranslate2"


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
