"""The artifact that a technique starts from: verified and opened, with its tokenizer and limits."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.compression.artifacts.publish import check_name
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import load_model
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Manifest, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from slimseq.compression.train.data.training_data import Limits


@dataclass(frozen=True)
class Parent:
    """One artifact with its model, fp32, in evaluation mode on the context's device."""

    manifest: Manifest
    folder: Path
    model: "PreTrainedModel"
    tokenizer: Tokenizer
    limits: "Limits"


def verify_parent(context: Context, task: Task, variant: str, name: str) -> Manifest:
    """Verifies the safetensors of an artifact that a new one, with a name, is made from.

    Raises:
        BadParameters: the new artifact would replace the one that it is made from, or that holds no safetensors.
        UnknownVariant, InvalidArtifact, CorruptArtifact: as `Store.verify` does.
    """
    if name == variant:
        raise BadParameters(f"{name!r} would replace what it is made from; give another --name")
    check_name(context, task, name)
    if not context.store.manifest(task, variant).has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to start from; start from one that has")
    return context.store.verify(task, variant, only="safetensors")


def open_parent(context: Context, task: Task, variant: str, name: str) -> Parent:
    """Verifies an artifact, as `verify_parent` does, and loads its safetensors."""
    from slimseq.compression.train.data.training_data import limits_of

    manifest, folder = verify_parent(context, task, variant, name), context.store.folder(task, variant)
    configuration = read_configuration(folder)
    targets = configuration.vocabulary
    return Parent(
        manifest=manifest,
        folder=folder,
        model=load_model(folder, context.device),
        tokenizer=Tokenizer(folder, sources=configuration.source_vocabulary or targets, targets=targets),
        limits=limits_of(manifest.generation, configuration.max_positions),
    )
