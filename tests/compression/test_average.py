"""An average lies between what a variant was and what it was trained to, and says so in its lineage."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slimseq.compression.average import AverageOptions, average
from slimseq.compression.context import Context
from slimseq.compression.distill import DistillOptions, distill
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.prune import prune
from slimseq.compression.prune.prune_options import PruneOptions
from slimseq.compression.technique import Job
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.models_store.manifest import Manifest, Task
from tests.compression.tiny import tiny_file

TASK = Task.TRANSLATION
ALL_LAYERS = DistillOptions(encoder_layers=2, decoder_layers=2)


@pytest.fixture
def context(context: Context, tmp_path: Path) -> Context:
    """A store with `original`, and `trained` from it for a few steps."""
    training = TrainingOptions(Bounds(max_steps=3), learning_rate=1e-2)
    distill(Job(context, TASK, "original", "trained", DataFiles([tiny_file(tmp_path)])), ALL_LAYERS, training)
    return context


def averaged(context: Context, variant: str, name: str, options: AverageOptions) -> Manifest:
    return average(Job(context, TASK, variant, name, DataFiles([])), options).manifest


def tensors(context: Context, variant: str) -> dict[str, torch.Tensor]:
    return load_file(context.store.folder(TASK, variant) / "model.safetensors")


def test_averaged_weights_are_between_those_before_and_after(context: Context) -> None:
    manifest = averaged(context, "trained", "averaged", AverageOptions(share=0.25))

    before, after, between = (tensors(context, name) for name in ("original", "trained", "averaged"))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    for name, found in between.items():
        wanted = before[name].float() * 0.75 + after[name].float() * 0.25
        assert torch.allclose(found.float(), wanted, atol=1e-2, rtol=1e-2), name
    step = manifest.lineage[-1]
    assert step.technique == "average"
    assert step.parent == context.store.manifest(TASK, "trained").digest
    assert step.parameters == {"other": context.store.manifest(TASK, "original").digest, "share": 0.25}
    named = averaged(context, "trained", "named", AverageOptions(other="original", share=0.25))
    assert named.digest == manifest.digest


def test_variants_that_cannot_be_averaged_are_refused_in_one_line(context: Context, tmp_path: Path) -> None:
    job = Job(context, TASK, "original", "narrow", DataFiles([tiny_file(tmp_path)]))
    prune(job, PruneOptions(feed_forward=0.5), TrainingOptions(Bounds(max_steps=0)))

    for variant, options, words in (
        ("trained", AverageOptions(share=1.0), "the share is 1; it is above 0 and below 1"),
        ("trained", AverageOptions(other="narrow"), "is of another shape"),
        ("trained", AverageOptions(other="trained"), "no other safetensors"),
        ("original", AverageOptions(), "is not in the store; name another variant"),
    ):
        with pytest.raises(BadParameters, match=words):
            averaged(context, variant, "averaged", options)
    assert "averaged" not in context.store.variants(TASK)
