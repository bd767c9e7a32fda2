"""`calibrate-confidence` fits the confidence of a variant on dev data, and keeps it in the manifest."""

from pathlib import Path

import pytest

from slimseq.compression.calibrate_confidence import CalibrationOptions, calibrate_variants
from slimseq.compression.context import Context
from slimseq.evaluation.calibration import CannotCalibrate
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.compression.tiny import tiny_file

TASK = Task.TRANSLATION


def test_the_command_keeps_what_it_fitted_and_changes_no_file(own_store: Store) -> None:
    before = own_store.manifest(TASK, "quantized")

    done = compression("calibrate-confidence", TASK, "quantized", "--record", "--json", "--store", own_store.root)

    assert done.code == 0, done.error
    after = own_store.manifest(TASK, "quantized")
    found = after.confidence
    assert found is not None and done.json == {"quantized": found.model_dump(mode="json")}
    assert (found.dataset, found.split, found.samples, found.metric) == ("sample", "test", 99, "chrf")
    assert found.runtime == "onnxruntime" and found.generation["num_beams"] == before.generation.num_beams
    assert found.points[0][0] < found.points[-1][0] < 0 and found.measured_at
    assert after == before.model_copy(update={"confidence": found})
    own_store.verify(TASK, "quantized")


def test_nothing_is_kept_unless_it_is_asked_for(own_store: Store) -> None:
    before = own_store.manifest(TASK, "quantized")

    done = compression("calibrate-confidence", TASK, "quantized", "--store", own_store.root)

    assert done.code == 0, done.error
    assert "calibration error" in done.out and "Nothing was recorded" in done.out
    assert own_store.manifest(TASK, "quantized") == before


def test_several_data_sets_are_taken_together(own_store: Store, tmp_path: Path) -> None:
    options = CalibrationOptions(datasets=("sample", tiny_file(tmp_path)), samples=30)

    found = calibrate_variants(Context(own_store), TASK, ["quantized"], options)["quantized"]

    assert (found.dataset, found.split, found.samples) == ("sample + train", "test + train", 50)


def test_summaries_have_no_confidence(own_store: Store) -> None:
    done = compression("calibrate-confidence", "summarization", "quantized", "--store", own_store.root)

    assert done.code == 1
    assert "translations have a confidence, summaries none" in done.error


def test_a_runtime_that_does_not_say_how_probable_its_outputs_are_is_refused(context: Context, tmp_path: Path) -> None:
    options = CalibrationOptions(datasets=(tiny_file(tmp_path),), runtime="torch")

    with pytest.raises(CannotCalibrate, match=r"translation/original: .*the runtime does not say how probable"):
        calibrate_variants(context, TASK, ["original"], options)
