"""`distill`: which layers a student gets, and what its manifest says."""

from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.distill import DistillOptions, distill, kept_layers
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model, load_model
from slimseq.compression.technique import Job, technique_named
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.trainer import TrainingPaused
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.compression.train.unfinished import CURRENT
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_file, tiny_model, tiny_store, tiny_tokenizer
from tests.families import Family

TASK = Task.TRANSLATION


def test_layers_are_evenly_spaced_and_by_default_half_of_the_decoders_stay(tmp_path: Path) -> None:
    model = tiny_model(Family.T5, tiny_tokenizer(Family.T5, tmp_path), encoder_layers=3, decoder_layers=4)
    parts = architecture_of_model(model)

    for options, encoder, decoder in (
        (DistillOptions(), [0, 1, 2], [0, 3]),
        (DistillOptions(2, 3), [0, 2], [0, 2, 3]),
        (DistillOptions(1, 4), [0], [0, 1, 2, 3]),
    ):
        assert kept_layers(parts, options) == {"encoder": encoder, "decoder": decoder}
    for number in (0, 5):
        with pytest.raises(BadParameters, match="of 4 decoder layers"):
            kept_layers(parts, DistillOptions(decoder_layers=number))


def test_a_student_is_published_with_what_was_done_to_it(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    training = TrainingOptions(bounds=Bounds(max_steps=6), tokens_per_batch=200, dropout=0.0, temperature=2.0)
    job = Job(context, TASK, "original", "distilled", DataFiles([tiny_file(tmp_path)]))

    outcome = distill(job, DistillOptions(decoder_layers=1), training)

    context.store.verify(TASK, "distilled")
    step, student = outcome.manifest.lineage[-1], load_model(context.store.folder(TASK, "distilled"))
    assert (step.technique, step.parent) == ("distill", context.store.manifest(TASK, "original").digest)
    assert step.parameters["kept_layers"] == {"encoder": [0, 1], "decoder": [0]}
    assert (step.parameters["temperature"], step.parameters["steps"]) == (2.0, 6)
    assert len(architecture_of_model(student).decoder.layers) == 1


def test_a_paused_job_publishes_nothing_and_goes_on_to_the_artifact_of_one_without_pause(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    technique = technique_named("distill")
    options = technique.read({"max_steps": 20, "warmup_steps": 2, "tokens_per_batch": 200})
    files, folder = DataFiles([tiny_file(tmp_path)]), tmp_path / "checkpoint"
    job = Job(context, TASK, "original", "paused", files, checkpoint=folder)

    with pytest.raises(TrainingPaused, match="step 5"):
        technique.apply(replace(job, pause_at=5), options)
    variants_at_the_pause = context.store.variants(TASK)
    had_checkpoint = (folder / CURRENT).exists()
    technique.apply(job, options)
    technique.apply(Job(context, TASK, "original", "whole", files), options)

    assert had_checkpoint
    assert "paused" not in variants_at_the_pause
    assert not (folder / CURRENT).exists()
    paused, whole = (context.store.folder(TASK, name) / "model.safetensors" for name in ("paused", "whole"))
    assert paused.read_bytes() == whole.read_bytes()
