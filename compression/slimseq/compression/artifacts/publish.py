"""Publishes artifacts: writes model files, manifest and model card together, atomically.

Every technique ends here, so that every artifact has a complete manifest.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.marian_student import ACTIVATION_SCALES
from slimseq.inference.models.safetensors_reader import DTYPES, SafetensorsReader, widest_dtype
from slimseq.inference.models.shortlist import SHORTLIST
from slimseq.inference.models.t5 import OUTPUT_TABLE, tie_word_embeddings
from slimseq.inference.tokenizer import TARGET_TOKENIZER
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import list_files, write_json, write_manifest
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.lineage import BASE_TECHNIQUES, is_root, reference_of
from slimseq.models_store.manifest import (
    DEMONSTRATION,
    NAME_PATTERN,
    SAFETENSORS,
    Manifest,
    Reference,
    Size,
    Step,
    Task,
    digest_of,
    format_of,
)
from slimseq.models_store.model_folder import copy_from_folder
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# The files of a tokenizer, and the shortlist of its tokens. A model folder has some of them.
TOKENIZER_FILES = (
    "tokenizer.json",
    TARGET_TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "vocab.json",
    "merges.txt",
    SHORTLIST,
)
WEIGHTS = "model.safetensors"
# transformers looks for a tensor under each of these names in a model that is not tied, even if they are equal.
UNTIED_TABLES = (OUTPUT_TABLE, "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")


@dataclass(frozen=True)
class Identity:
    """The part of a manifest that is known before the files exist. Without a `reference`, the lineage decides it."""

    task: Task
    variant: str
    family: str
    languages: list[str]
    license: str
    training_data: str
    description: str
    generation: GenerationDefaults
    lineage: list[Step]
    reference: Reference | None = None


def check_name(context: Context, task: Task, name: str) -> None:
    """Checks before any work that an artifact can be published with a name."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise BadParameters(
            f"{name!r} is not a valid name: use lower-case letters, digits, dots, dashes and underscores"
        )
    # A folder without a manifest is not an artifact, but may have files of the user.
    if os.path.lexists(context.store.folder(task, name)) and not context.may_replace:
        raise BadParameters(f"{task}/{name} exists already; give another --name, or --force to replace it")


def derived(parent: Manifest, variant: str, description: str, step: Step) -> Identity:
    """Returns the identity of an artifact made from `parent` by one step.

    Its reference is the reference of its parent. A base model that is trained further is a new base model, and becomes
    its own reference.
    """
    is_base = step.technique in BASE_TECHNIQUES and is_root(parent)
    if parent.is_demonstration and not is_base and not description.startswith(DEMONSTRATION):
        # The description itself says that the model is for demonstration. The artifact may be copied to a store without
        # its base model.
        description = f"{DEMONSTRATION}. {description}"
    return Identity(
        task=parent.task,
        variant=variant,
        family=parent.family,
        languages=parent.languages,
        license=parent.license,
        training_data=parent.training_data,
        description=description,
        generation=parent.generation,
        lineage=[*parent.lineage, step],
        reference=None if is_base else parent.reference,
    )


@dataclass
class Draft:
    """An artifact that is being written: its folder, its identity, and its parameter counts."""

    folder: Path
    identity: Identity
    parameters: int = 0
    nonzero_parameters: int = 0


@contextmanager
def publishing(store: Store, identity: Identity, parent: Manifest | None = None) -> Iterator[Draft]:
    """Yields a draft, whose folder the block fills. Then writes manifest and card, and moves the draft into the store.

    An artifact with the same name is replaced atomically. With a `parent`, the draft starts with the parent's parameter
    counts. The block may replace the draft's identity, for example to set a step's seconds.
    """
    with store.writing(identity.task, identity.variant) as folder:
        draft = Draft(folder, identity)
        if parent is not None:
            draft.parameters = parent.size.parameters
            draft.nonzero_parameters = parent.size.nonzero_parameters
        yield draft
        files = list_files(folder)
        bytes_by_format = Counter[str]()
        for file in files:
            format_name = format_of(file.path)
            if format_name is not None:
                bytes_by_format[format_name] += file.bytes
        digest = digest_of(files)
        before = manifest_of_the_same(store, draft.identity, digest)
        manifest = Manifest(
            **vars(draft.identity),
            size=Size(
                parameters=draft.parameters,
                nonzero_parameters=draft.nonzero_parameters,
                bytes_by_format=dict(bytes_by_format),
                fp32_bytes=4 * draft.parameters,
            ),
            files=files,
            digest=digest,
            **({} if before is None else before.measured),
        )
        reference = reference_of(manifest, store.manifests(manifest.task))
        manifest = manifest.model_copy(update={"reference": reference})
        write_manifest(folder, manifest)
        write_card(folder, manifest)


def manifest_of_the_same(store: Store, new: Identity | Manifest, digest: str) -> Manifest | None:
    """Returns the manifest of the artifact to replace if it has the same files and generation options, else None.

    The measurements in that manifest are then valid for the new artifact too. The files of the old artifact need not
    exist.
    """
    try:
        before = store.manifest(new.task, new.variant)
    except SlimseqError:
        return None
    return before if before.digest == digest and before.generation == new.generation else None


def publish_model(
    store: Store,
    model: "PreTrainedModel",
    tokenizer_folder: Path,
    identity: Identity,
    original: Path | None = None,
    *,
    may_move_original: bool = False,
) -> Manifest:
    """Publishes a torch model with the tokenizer files of another folder, as `write_model` writes it.

    Raises:
        InvalidArtifact: the configuration lacks what decoding needs, so that no runtime could open the artifact.
    """
    with publishing(store, identity) as draft:
        write_model(model, draft.folder, original, may_move_original=may_move_original)
        copy_tokenizer(tokenizer_folder, draft.folder)
        read_configuration(draft.folder)
        # torch lists a tied parameter once.
        parameters = list(model.parameters())
        draft.parameters = sum(each.numel() for each in parameters)
        draft.nonzero_parameters = sum(int(each.count_nonzero()) for each in parameters)
    return store.manifest(identity.task, identity.variant)


def write_model(
    model: "PreTrainedModel", folder: Path, original: Path | None = None, *, may_move_original: bool = False
) -> None:
    """Writes config, generation config and safetensors, so that `from_pretrained(folder)` works.

    Tied matrices are stored once. `model` keeps its dtype.

    Args:
        model: the model to write.
        folder: folder to write to.
        original: folder of the imported model, if the model is an imported one. Each tensor keeps the dtype that it has
            in this folder, so that every bit of an imported model stays. Without `original`, tensors are stored in
            bf16. If one file of `original` has exactly the tensors of the model, this file is copied.
        may_move_original: whether the file may be moved instead, so that its bytes are not on the disk twice.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = model.config.to_dict()
    kinds = SafetensorsReader(original).kinds if original else {}
    config |= {"architectures": [type(model).__name__], "dtype": widest_dtype(kinds)}
    # transformers 4 and 5 both understand this key. Their other keys for tied embeddings differ.
    config["tie_word_embeddings"] = tie_word_embeddings(config)
    for name in ("_name_or_path", "scale_decoder_outputs"):
        config.pop(name, None)
    if not original:
        # Published activation scales belong to the published weights, and these weights are others.
        config.pop(ACTIVATION_SCALES, None)
    tensors = _stored_tensors(model, kinds, is_tied=config["tie_word_embeddings"])
    original_file = _file_with(original, tensors) if original else None
    if original_file is None:
        save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})
    elif may_move_original:
        original_file.replace(folder / WEIGHTS)
    else:
        copy_from_folder(original_file.parent, original_file.name, folder / WEIGHTS)
    write_json(folder / "config.json", config)
    assert model.generation_config is not None
    # By way of JSON, since a field may be an object of transformers.
    generation = json.loads(model.generation_config.to_json_string())
    generation.pop("_from_model_config", None)
    write_json(folder / "generation_config.json", generation)


def _stored_tensors(model: "PreTrainedModel", kinds: Mapping[str, str], *, is_tied: bool) -> "dict[str, torch.Tensor]":
    """Returns the tensors to store, by name. Tied matrices are in it once.

    Args:
        model: the model to store.
        kinds: the kind of each tensor in the files of the imported model, by name. Empty for another model.
        is_tied: whether the embeddings and the output projection are tied.
    """
    import torch

    state = model.state_dict()
    stored_addresses: set[int] = set()
    tensors: dict[str, torch.Tensor] = {}
    # Of tied matrices, the one that is called `shared` comes first, and is stored.
    for name in sorted(state, key=lambda name: ("shared" not in name, name)):
        tensor = state[name]
        if tensor.data_ptr() in stored_addresses:
            if is_tied or name not in UNTIED_TABLES:
                continue
            tensor = tensor.clone()
        stored_addresses.add(tensor.data_ptr())
        if tensor.is_floating_point():
            tensor = tensor.to(getattr(torch, _stored_dtype(name, kinds)))
        tensors[name] = tensor.contiguous().cpu()
    return tensors


def _stored_dtype(name: str, kinds: Mapping[str, str]) -> str:
    """Returns the dtype of a tensor in the files of the imported model. Other tensors get the widest dtype there."""
    # The files of some models have names without the prefix `model.` of the class, or with a prefix that it lacks.
    for original_name in (name, f"model.{name}", name.removeprefix("model.")):
        if original_name in kinds:
            return DTYPES[kinds[original_name]]
    return widest_dtype(kinds)


def _file_with(folder: Path, tensors: "Mapping[str, torch.Tensor]") -> Path | None:
    """Returns the only safetensors file of a folder if it has these tensors and no others, else None."""
    files = list(folder.glob(f"*{SAFETENSORS}"))
    weights = SafetensorsReader(folder)
    if len(files) != 1 or weights.names != tensors.keys():
        return None
    has_same_shapes = all(weights.shape(name) == tuple(tensor.shape) for name, tensor in tensors.items())
    return files[0] if has_same_shapes else None


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copies the tokenizer files that exist.

    Raises:
        BadSource: one of them is refused, such as a link that leaves the folder.
    """
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            copy_from_folder(source, name, folder / name)


def copy_files(manifest: Manifest, source: Path, folder: Path) -> None:
    """Copies the files of an artifact that its manifest lists."""
    for file in manifest.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file.path, target)
