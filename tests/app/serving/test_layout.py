import pytest

from slimseq.app.serving.layout import LayoutChooser, layout_for
from slimseq.evaluation.host import available_cores, cpu_flags
from slimseq.evaluation.layouts import Layout
from tests.app.serving.artifacts import manifest
from tests.measured import measured_layout


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
    assert layout_for(cores, workers, threads) == found


def test_what_was_measured_counts_where_no_setting_does() -> None:
    tuned = manifest(layouts=[measured_layout(3, 5, 100, cores=available_cores(), cpu_flags=cpu_flags())])

    assert LayoutChooser().choose(tuned, "onnxruntime") == Layout(3, 5)
    assert LayoutChooser().choose(tuned, "ctranslate2") == layout_for(available_cores())
    assert LayoutChooser(workers=7).choose(tuned, "onnxruntime") == layout_for(available_cores(), 7)
