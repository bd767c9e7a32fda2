"""Quantizes an artifact: stores its model in fewer bits, by the scheme that the options name.

Schemes are in `slimseq.compression.quantize`, one file each; this checks, runs one, and publishes what it wrote.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.compression.context import Context, library_versions
from slimseq.compression.errors import BadParameters
from slimseq.compression.publish import Draft, check_name, copy_tokenizer, derived, publishing
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.protocol import Scheme, Work
from slimseq.compression.quantize.registry import scheme_named
from slimseq.evaluation.host import cpu_flags
from slimseq.models_store.manifest import Manifest, Step, Task

if TYPE_CHECKING:
    from slimseq.compression.training.data import DataFiles

__all__ = ["QuantizeOptions", "quantize"]


def quantize(
    context: Context,
    task: Task,
    variant: str,
    name: str = "quantized",
    options: QuantizeOptions | None = None,
    files: "DataFiles | None" = None,
    scheme: Scheme | None = None,
) -> Manifest:
    """Makes a quantized artifact of one that has safetensors.

    Args:
        context: the store.
        task: the artifact's task.
        variant: the artifact to start from.
        name: the new artifact's name.
        options: how to round; by default to int8 as this CPU wants it.
        files: data, for the schemes that calibrate, for a fallback and for fine-tuning.
        scheme: takes the place of the one that the options name.

    Returns:
        The new artifact's manifest. Its last step's parameters are the options and, with a fallback, `sensitivity`
        (a list of `{"group", "divergence"}`, most sensitive first), `in_float` and `divergence`.

    Raises:
        UnknownVariant, CorruptArtifact: as `Store.verify` does.
        BadParameters: the artifact has no safetensors or would replace itself, an option is out of range or not for
            this model, or data is needed that nobody named.
        BadData: a file of data cannot be used.
    """
    options = options or QuantizeOptions()
    options.check()
    scheme = scheme or scheme_named(options.scheme)
    parent = context.store.manifest(task, variant)
    if not parent.has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to quantize from; start from one that has")
    if name == variant:
        raise BadParameters(f"{task}/{variant} cannot be quantized onto itself; give another --name")
    check_name(context, task, name)
    context.store.verify(task, variant, only="safetensors")
    source = context.store.folder(task, variant)
    started = time.monotonic()
    step = Step(technique="quantize", parent=parent.digest, versions=library_versions(), device="cpu")
    description = f"{parent.description} {scheme.description}"
    with context.progress() as progress, publishing(context.store, derived(parent, name, description, step)) as draft:
        bar = progress.add_task(f"quantize {task}/{variant}", total=1, status="")
        work = Work(context, parent, source, options, files, lambda status: progress.update(bar, status=status))
        found = scheme.write(work, draft.folder)
        _copy_configuration(source, draft)
        draft.parameters, draft.nonzero_parameters = parent.size.parameters, parent.size.nonzero_parameters
        finished = step.model_copy(
            update={
                "parameters": {**asdict(options), **found, "cpu_flags": cpu_flags()},
                "seconds": round(time.monotonic() - started, 3),
            }
        )
        draft.identity = replace(draft.identity, lineage=[*parent.lineage, finished])
        progress.update(bar, advance=1, status="done")
    return context.store.manifest(task, name)


def _copy_configuration(source: Path, draft: Draft) -> None:
    """Copies configurations that the scheme did not write, and the tokenizer."""
    for name in ("config.json", "generation_config.json"):
        if (source / name).exists() and not (draft.folder / name).exists():
            (draft.folder / name).write_bytes((source / name).read_bytes())
    copy_tokenizer(source, draft.folder)
