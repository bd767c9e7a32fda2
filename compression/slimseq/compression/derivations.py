"""Which int8 variants `prepare` makes, and how: those in the store, those in its record, and `quantized`.

`slimseq.compression.prepare` makes them. `slimseq.models_store.derived` has the record.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from slimseq.compression.context import Context
from slimseq.compression.decode import DecodeOptions, is_search_step, recorded_search
from slimseq.compression.quantize.quantize_options import QuantizeOptions, SchemeName
from slimseq.models_store.files import MANIFEST, UNLISTED
from slimseq.models_store.manifest import Manifest, Step, Task

# The recorded options that say how to quantize. `reduce_range` is not one: it depends on the CPU.
RECORDED = ("scheme", "sensitive_layers")
# The variant that every store with an original gets.
DEFAULT = "quantized"
# A parameter of a step: `prepare` made the artifact and may make it again from another original.
MADE_BY = "made_by"
PREPARE = "prepare"
# Schemes that need no data, so that an artifact can be made again from its parent.
DATA_FREE_SCHEMES = frozenset(get_args(SchemeName)) - {"int4-blocks"}


@dataclass(frozen=True)
class Derivation:
    """How an int8 variant is made: its parent, the quantization, and the search that is set afterwards."""

    parent: str
    options: QuantizeOptions = field(default_factory=QuantizeOptions)
    search: DecodeOptions | None = None


def find_derivations(context: Context, task: Task, recorded: Sequence[Manifest]) -> dict[str, Derivation]:
    """Returns the int8 variants that can be made: those in the store, recorded ones, `quantized` from the original."""
    stored = {manifest.variant: manifest for manifest in context.store.manifests(task)}
    names = context.store.variants(task)
    absent = [each for each in recorded if each.variant not in names and _is_free(context, each)]
    parents = {manifest.digest: name for name, manifest in stored.items() if manifest.has_format("safetensors")}
    found: dict[str, Derivation] = {}
    for manifest in (*stored.values(), *absent):
        step = quantization(manifest)
        parent = parents.get(step.parent or "")
        options = _read_options(step) if parent is not None else None
        if parent is None or options is None:
            continue
        after = manifest.lineage[manifest.lineage.index(step) + 1 :]
        found.setdefault(manifest.variant, Derivation(parent, options, recorded_search(after)))
    if "original" in parents.values() and DEFAULT not in found:
        before = stored.get(DEFAULT)
        is_free = not os.path.lexists(context.store.folder(task, DEFAULT))
        if is_free or (before is not None and quantization(before).parameters.get(MADE_BY) == PREPARE):
            found[DEFAULT] = Derivation("original")
    return {name: each for name, each in found.items() if name not in stored or not stored[name].is_rejected}


def quantization(manifest: Manifest) -> Step:
    """Returns the last step of a lineage, except for steps that only changed the search."""
    steps = [step for step in manifest.lineage if not is_search_step(step)]
    return steps[-1] if steps else manifest.lineage[-1]


def made_by_prepare(manifest: Manifest) -> Manifest:
    """Returns a manifest that says that `prepare` made the int8 variant."""
    step = quantization(manifest)
    changed = step.model_copy(update={"parameters": {**step.parameters, MADE_BY: PREPARE}})
    return manifest.model_copy(update={"lineage": [changed if each is step else each for each in manifest.lineage]})


def _read_options(step: Step) -> QuantizeOptions | None:
    """Returns the options of a quantization step; None for other steps, and for schemes that need data."""
    given = step.parameters
    if step.technique != "quantize" or given.get("scheme") not in DATA_FREE_SCHEMES:
        return None
    recorded = {name: given[name] for name in RECORDED if name in given}
    if recorded.get("sensitive_layers") is not None:
        recorded["sensitive_layers"] = tuple(recorded["sensitive_layers"])
    return QuantizeOptions(**recorded)


def _is_free(context: Context, recorded: Manifest) -> bool:
    """Whether a folder without a manifest may be replaced: it does not exist, or has only files of the variant."""
    folder: Path = context.store.folder(recorded.task, recorded.variant)
    if folder.is_symlink() or os.path.lexists(folder / MANIFEST):
        return False
    listed = {file.path for file in recorded.files}
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return all(path.name in UNLISTED or path.relative_to(folder).as_posix() in listed for path in files)
