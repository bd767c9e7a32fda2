"""Measurements of a build are kept in its folder, and count for the files that they are of."""

from pathlib import Path

from slimseq.compression.build.measure import Finished, Measurements
from slimseq.compression.context import Context
from tests.compression.build.tiny_recipe import TASK
from tests.measured import performance


def test_figures_of_the_same_files_are_not_measured_again_and_those_of_others_do_not_count(
    context: Context, tmp_path: Path
) -> None:
    manifest, path = context.store.manifest(TASK, "original"), tmp_path / "measurements.json"
    Measurements(path).keep("speed", Finished(key="old", speeds={"original": [performance(100)]}))

    same, other = Measurements(path), Measurements(path)

    assert same.take("speed", "old") and same.added_to(manifest).performance == [performance(100)]
    assert not other.take("speed", "new") and other.added_to(manifest).performance == []
    assert not same.is_new
