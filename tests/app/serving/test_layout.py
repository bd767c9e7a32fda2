import pytest

from app.serving.layout import Layout, layout_for


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
