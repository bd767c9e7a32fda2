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

    from slimseq.compression.train.data.pairs import Limits


@dataclass(frozen=True)
class Parent:
    """One artifact with its model, fp32, in evaluation mode on the context's device."""

    manifest: Manifest
    folder: Path
    model: "PreTrainedModel"
    tokenizer: Tokenizer
    limits: "Limits"


def open_parent(context: Context, task: Task, variant: str, name: str) -> Parent:
    """Verifies an artifact and loads its safetensors.

    Raises:
        BadParameters: the new artifact would replace the one that it is made from, or that holds no safetensors.
        UnknownVariant, InvalidArtifact, CorruptArtifact: as `Store.verify` does.
    """
    from slimseq.compression.train.data.pairs import limits_of

    if name == variant:
        raise BadParameters(f"{name!r} would replace what it is made from; give another --name")
    check_name(context, task, name)
    manifest = context.store.manifest(task, variant)
    if not manifest.has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to start from; start from one that has")
    context.store.verify(task, variant, only="safetensors")
    folder = context.store.folder(task, variant)
    return Parent(
        manifest=manifest,
        folder=folder,
        model=load_model(folder, context.device),
        tokenizer=Tokenizer(folder),
        limits=limits_of(manifest.generation, read_configuration(folder).max_positions),
    )
