"""`prune` as a whole: the published artifact, its lineage, its training, and options that are refused."""

from pathlib import Path

import pytest

from slimseq.compression.artifacts.outcome import Outcome
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import load_model
from slimseq.compression.prune.prune import prune
from slimseq.compression.prune.prune_options import PruneOptions
from slimseq.compression.technique import Job
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_dev, tiny_file, tiny_store

TASK = Task.TRANSLATION


def pruned(context: Context, folder: Path, options: PruneOptions, steps: int = 0) -> Outcome:
    """Prunes the original and lets it learn for some steps."""
    files = DataFiles([tiny_file(folder)], dev=[tiny_dev(folder)])
    training = TrainingOptions(bounds=Bounds(max_steps=steps), learning_rate=1e-3, tokens_per_batch=200, dropout=0.0)
    return prune(Job(context, TASK, "original", "pruned", files), options, training)


def test_an_artifact_is_published_with_what_was_done_to_it(tmp_path: Path) -> None:
    context = tiny_store(tmp_path, seed=7)
    outcome = pruned(context, tmp_path, PruneOptions(feed_forward=0.5, heads=3, samples=12), steps=6)

    manifest, parent = context.store.manifest(TASK, "pruned"), context.store.manifest(TASK, "original")
    context.store.verify(TASK, "pruned")
    assert outcome.manifest == manifest
    step = manifest.lineage[-1]
    assert (step.technique, step.parent, step.seed) == ("prune", parent.digest, 7)
    assert (step.parameters["heads"], step.parameters["kept_channels"]) == (3, {"encoder": 32, "decoder": 32})
    assert (step.parameters["steps"], step.parameters["data"]) == (6, ["train.jsonl"])
    assert step.versions["torch"]
    assert step.seconds > 0
    loaded = load_model(context.store.folder(TASK, "pruned"))
    assert manifest.size.parameters == loaded.num_parameters() < parent.size.parameters
    assert manifest.generation == parent.generation
    assert outcome.report is not None
    assert outcome.report.dev_loss_after is not None
    assert outcome.parent_dev_loss is not None


def test_the_manifest_says_which_layers_stay(tmp_path: Path) -> None:
    options = PruneOptions(feed_forward=1, encoder_layers=1, decoder_layers=1)

    manifest = pruned(tiny_store(tmp_path), tmp_path, options).manifest

    kept = manifest.lineage[-1].parameters["kept_layers"]
    assert [len(kept[stack]) for stack in ("encoder", "decoder")] == [1, 1]
    assert "1 of 2 encoder layers, 1 of 2 decoder layers" in manifest.description


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(BadParameters, match="below 0"):
        PruneOptions(vocabulary=-1).check()


@pytest.mark.parametrize("samples", [0, -1])
def test_calibration_needs_a_pair(context: Context, tmp_path: Path, samples: int) -> None:
    with pytest.raises(BadParameters, match=f"cannot calibrate on {samples} pairs; take at least 1"):
        pruned(context, tmp_path, PruneOptions(feed_forward=0.5, samples=samples))

    assert context.store.variants(TASK) == ["original"]


def test_the_teacher_of_a_student_with_a_trimmed_vocabulary_is_trimmed_too(context: Context, tmp_path: Path) -> None:
    """Nothing but ids is cut, so that before any step the student is its teacher: the loss is the same."""
    outcome = pruned(context, tmp_path, PruneOptions(feed_forward=1, vocabulary=0))

    assert outcome.report is not None
    assert outcome.parent_dev_loss is not None
    assert outcome.report.dev_loss_before == outcome.parent_dev_loss
    after, before = outcome.manifest.lineage[-1].parameters["kept_tokens"]
    parent = context.store.manifest(TASK, "original")
    assert outcome.manifest.size.parameters == parent.size.parameters - (before - after) * 32
