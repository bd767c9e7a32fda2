"""Averages the weights of a variant with the weights before its last training.

A model that is trained further on new data forgets a little of the old data. An interpolation between the weights
before and after keeps both (Wortsman et al. 2021, https://arxiv.org/abs/2109.01903), at no cost in serving.

In a recipe:

    - average: {share: 0.4}
"""

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from slimseq.compression.artifacts.outcome import Outcome, step_of
from slimseq.compression.artifacts.parent import open_parent
from slimseq.compression.artifacts.publish import derived, publish_model
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.models import load_model
from slimseq.compression.options import COMMON, flat
from slimseq.compression.technique import Job, Technique
from slimseq.models_store.manifest import Manifest

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@flat(COMMON)
@dataclass(frozen=True)
class AverageOptions:
    """What to average, and how."""

    other: str = ""
    """Variant to average with. By default the one that the last step of the lineage started from."""
    share: float = 0.5
    """Share of the variant's own weights in the average; the rest is the other's."""

    def check(self) -> None:
        if not 0 < self.share < 1:
            raise BadParameters(f"the share is {self.share:g}; it is above 0 and below 1")


def average(job: Job, options: AverageOptions) -> Outcome:
    """Averages two artifacts and publishes the result.

    Raises:
        BadParameters: the share is out of range, the other one is not in the store, or their shapes or tokens differ.
        UnknownVariant, InvalidArtifact, CorruptArtifact: one of the two cannot be read.
    """
    started = time.monotonic()
    options.check()
    context, task, variant = job.context, job.task, job.parent
    parent = open_parent(context, task, variant, job.name)
    other = _other(context, parent.manifest, options)
    context.store.verify(task, other.variant, only="safetensors")
    folder = context.store.folder(task, other.variant)
    if _tokens(parent.manifest) != _tokens(other):
        raise BadParameters(f"{task}/{variant} and {task}/{other.variant} have other tokens; they cannot be averaged")
    _move_towards(parent.model, load_model(folder, context.device), 1 - options.share, f"{task}/{other.variant}")
    parameters = {**asdict(options), "other": other.digest}
    step = step_of(context, TECHNIQUE.name, parameters, parent.manifest.digest, started)
    words = f"Averaged: {options.share:.0%} of these weights, {1 - options.share:.0%} of those of {other.variant}."
    identity = derived(parent.manifest, job.name, f"{parent.manifest.description} {words}", step)
    manifest = publish_model(context.store, parent.model, parent.folder, identity)
    add_onnx(context, task, job.name)
    chosen = f"{options.share:.0%} of the weights of {variant}, {1 - options.share:.0%} of those of {other.variant}."
    return Outcome(manifest, chosen=[chosen])


def _other(context: Context, manifest: Manifest, options: AverageOptions) -> Manifest:
    """Returns the variant to average with: the named one, or the parent of the last step."""
    if options.other:
        found: Manifest | None = context.store.manifest(manifest.task, options.other)
    else:
        before = manifest.lineage[-1].parent
        found = next((each for each in context.store.manifests(manifest.task) if each.digest == before), None)
    if found is None:
        raise BadParameters(
            f"what {manifest.task}/{manifest.variant} was trained on from is not in the store; name another variant"
        )
    if not found.has_format("safetensors") or found.digest == manifest.digest:
        raise BadParameters(f"{found.task}/{found.variant} holds no other safetensors to average with")
    return found


def _tokens(manifest: Manifest) -> str:
    """Returns the hash of the tokenizer's file: variants with the same tokens have the same hash."""
    return next((file.sha256 for file in manifest.files if file.path == "tokenizer.json"), "")


def _move_towards(model: "PreTrainedModel", other: "PreTrainedModel", share: float, name: str) -> None:
    """Interpolates weights in place, by a share."""
    import torch

    theirs = dict(other.named_parameters())
    ours = dict(model.named_parameters())
    if {key: value.shape for key, value in ours.items()} != {key: value.shape for key, value in theirs.items()}:
        raise BadParameters(f"{name} is of another shape; it cannot be averaged with")
    with torch.no_grad():
        for key, value in ours.items():
            value.lerp_(theirs[key], share)


TECHNIQUE = Technique("average", average, [AverageOptions], requires="torch")
