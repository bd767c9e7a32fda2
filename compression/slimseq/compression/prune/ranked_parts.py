"""The order in which the heads and channels of every part of a model are best removed, measured on calibration pairs.

`second_order` finds the order of one projection. Here it is found for all parts of a model, in few passes over the
pairs: the second moments of wide models are as large as the model, so they are measured for some parts at a time.
"""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from slimseq.compression.context import Context
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.model_parts import ModelPart, parts_of, stacks_of_shared_heads
from slimseq.compression.prune.second_order import (
    Projection,
    Removal,
    find_removals,
    find_removals_at_once,
    measure_moments,
    projection_of,
)
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.models_store.files import writing_to
from slimseq.models_store.manifest import Manifest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Bytes of the second moments that are in memory at a time, as a share of the bytes of the model's weights.
MOMENTS_SHARE = 0.5
BYTES_PER_MOMENT = 4
# Characters of the hash of calibration pairs in the name of a cache.
KEY_CHARACTERS = 12

# Is called with a part, its projection, and the order of removal.
Visit = Callable[[ModelPart, Projection, Removal], None]


def moments_folder(folder: Path, manifest: Manifest) -> Path:
    """Returns the folder for the cache of a model, below a folder of several models."""
    return folder / "moments" / manifest.digest.removeprefix("sha256:")[:KEY_CHARACTERS]


def rank_parts(
    model: "PreTrainedModel",
    calibration: TrainingSet,
    context: Context,
    visit: Visit,
    cache: Path | None = None,
    deadline: float | None = None,
) -> None:
    """Finds the order of removal of the heads and channels of each part, while all other parts are whole.

    Afterwards the model is on `context.device` and in evaluation mode. Its weights stay the same.

    Args:
        model: the model.
        calibration: pairs on which the second moments of activations are measured.
        context: device and progress display.
        visit: is called with each part while its second moments are in memory, for fits.
        cache: folder of this model alone, in which moments and orders are kept, for later calls with the same pairs.
        deadline: on `time.monotonic()`. Parts that are reached after it are ranked by their first costs alone. These
            orders are not kept. None for no deadline.
    """
    model.to(context.device)  # type: ignore[arg-type]
    model.train(False)
    folder = None if cache is None else cache / _key(calibration)
    groups = [(group, folder is not None and _is_cached(folder, group)) for group in _groups(model)]
    with context.progress() as display:
        passes = sum(not is_cached for _, is_cached in groups)
        total = passes * len(calibration) + len(parts_of(model))
        task = display.add_task("Ranking heads and channels", total=total, status="")
        for group, is_cached in groups:
            parts = [part for together in group for part in together]
            means = None
            if not is_cached:
                means = measure_moments(model, parts, calibration, lambda rows: display.advance(task, rows))
            for together in group:
                if means is None:
                    assert folder is not None
                    found = [_read(folder, part) for part in together]
                else:
                    is_late = deadline is not None and time.monotonic() > deadline
                    found = _ranked(model, together, [means.take(part.projection) for part in together], is_late)
                    for part, ranked in zip(together, found, strict=True):
                        _write(None if is_late else folder, part, ranked)
                for part, (moments, removal) in zip(together, found, strict=True):
                    visit(part, projection_of(model, part, moments), removal)
                    display.advance(task)


def _ranked(
    model: "PreTrainedModel", together: list[ModelPart], moments: list[torch.Tensor], is_late: bool
) -> list[tuple[torch.Tensor, Removal]]:
    projections = [projection_of(model, part, each) for part, each in zip(together, moments, strict=True)]
    find = find_removals_at_once if is_late else find_removals
    return list(zip(moments, find(projections, together[0].width), strict=True))


def _key(calibration: TrainingSet) -> str:
    """Returns the name of the folder for calibration pairs: a hash of their texts."""
    digest = hashlib.sha256()
    for example in calibration.examples:
        digest.update(json.dumps([example.source, example.target]).encode())
    return f"moments-{digest.hexdigest()[:KEY_CHARACTERS]}"


def _file(folder: Path, part: ModelPart) -> Path:
    return folder / f"{part.projection}.safetensors"


def _is_cached(folder: Path, group: list[list[ModelPart]]) -> bool:
    return all(_file(folder, part).exists() for together in group for part in together)


def _read(folder: Path, part: ModelPart) -> tuple[torch.Tensor, Removal]:
    tensors = load_file(_file(folder, part))
    return tensors["moments"], Removal(tensors["order"], tensors["errors"])


def _write(folder: Path | None, part: ModelPart, ranked: tuple[torch.Tensor, Removal]) -> None:
    """Writes what is known of a part, if there is a folder: to a temporary file that is renamed."""
    if folder is None:
        return
    moments, removal = ranked
    file = _file(folder, part)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        writing = file.with_suffix(".writing")
        tensors = {"moments": moments, "order": removal.order, "errors": removal.errors}
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, writing)
        writing.replace(file)


def _groups(model: "PreTrainedModel") -> list[list[list[ModelPart]]]:
    """Returns the parts in groups whose moments fit into memory together, as far as one part allows.

    A group is made of lists of parts that keep the same structures.
    """
    limit = MOMENTS_SHARE * sum(weight.numel() * weight.element_size() for weight in model.parameters())
    groups: list[list[list[ModelPart]]] = []
    left = 0.0
    for together in _kept_together(model):
        needed = BYTES_PER_MOMENT * sum((part.count * part.width + 1) ** 2 for part in together)
        if not groups or needed > left:
            groups.append([])
            left = limit
        groups[-1].append(together)
        left -= needed
    return groups


def _kept_together(model: "PreTrainedModel") -> list[list[ModelPart]]:
    """Returns the parts in lists that keep the same structures: most alone, self-attentions with a shared bias not."""
    sharing = stacks_of_shared_heads(architecture_of_model(model))
    together: dict[tuple[str, str], list[ModelPart]] = {}
    for part in parts_of(model):
        is_shared = part.kind == "heads" and part.stack in sharing
        key = (part.stack, "shared heads") if is_shared else (part.projection, "alone")
        together.setdefault(key, []).append(part)
    return list(together.values())
