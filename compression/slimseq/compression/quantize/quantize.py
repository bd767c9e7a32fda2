"""Quantizes an artifact: runs the scheme that the options name and publishes the result.

Each scheme is a module of `schemes`; `quantize_options` says what a scheme must have. In a recipe:

    - quantize: {scheme: int8-dynamic}
"""

import importlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Final

from cyclopts import Parameter

from slimseq.compression.artifacts.outcome import Outcome
from slimseq.compression.artifacts.parent import verify_parent
from slimseq.compression.artifacts.publish import copy_tokenizer, derived, publishing
from slimseq.compression.context import Context, library_versions
from slimseq.compression.options import COMMON, DATA, flat
from slimseq.compression.quantize.quantize_options import QuantizationRun, QuantizeOptions, SchemeName
from slimseq.compression.technique import Job, Technique
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.evaluation.host import cpu_flags
from slimseq.models_store.manifest import Manifest, Step, Task

# The module of each scheme in `schemes`, and a sentence for the model card. A module is imported only when it is used,
# since schemes need large libraries.
SCHEMES: Final[dict[SchemeName, tuple[str, str]]] = {
    "int8-dynamic": ("int8_dynamic", "Quantized to int8."),
    "int8-published": ("int8_published", "Quantized to int8 with the published weights and activation scales."),
    "int4-blocks": ("int4_blocks", "Stored in 4 bits a weight, computed in int8."),
    "bf16": ("half_precision", "Stored in bf16."),
    "fp16": ("half_precision", "Stored in fp16."),
    "ctranslate2-int8": ("ctranslate2_int8", "Quantized to int8 for CTranslate2."),
    "ctranslate2-int8-float16": (
        "ctranslate2_int8",
        "Quantized to int8 for CTranslate2, other tensors stored in fp16.",
    ),
}


@flat(DATA)
@dataclass(frozen=True)
class OptionalData(DataFiles):
    """Data files, which only int4-blocks needs."""

    train: Annotated[Sequence[str], Parameter(name="--data", group=COMMON)] = ()
    """Data for int4-blocks: a .jsonl or .tsv file (also .gz), or two texts as SOURCE:TARGET. Repeatable."""
    calibration: Sequence[str] = ()
    """Calibration data of int4-blocks. Repeatable. By default the first rows of --data."""


def quantize(
    context: Context,
    task: Task,
    variant: str,
    name: str = "quantized",
    options: QuantizeOptions | None = None,
    files: DataFiles | None = None,
) -> Manifest:
    """Makes a quantized artifact from one with safetensors, and returns its manifest.

    By default the scheme is `int8-dynamic`, with the weight range that suits this CPU. `files` are the calibration data
    that `int4-blocks` needs.

    Raises:
        BadParameters: as `verify_parent` does, the scheme does not suit the model, or data is needed and was not given.
        BadData: a data file cannot be used.
        BadSource: the model cannot be exported.
    """
    options = options or QuantizeOptions()
    parent, source = verify_parent(context, task, variant, name), context.store.folder(task, variant)
    started = time.monotonic()
    step = Step(technique="quantize", parent=parent.digest, versions=library_versions(), device="cpu", key=context.key)
    module, sentence = SCHEMES[options.scheme]
    scheme = importlib.import_module(f"slimseq.compression.quantize.schemes.{module}")
    identity = derived(parent, name, f"{parent.description} {sentence}", step)
    with context.progress() as progress, publishing(context.store, identity, parent) as draft:
        bar = progress.add_task(f"quantize {task}/{variant}", total=1, status="")
        run = QuantizationRun(parent, source, options, files, lambda status: progress.update(bar, status=status))
        found = scheme.write(run, draft.folder)
        # The scheme may have written configuration files of its own.
        for file in ("config.json", "generation_config.json"):
            if (source / file).exists() and not (draft.folder / file).exists():
                (draft.folder / file).write_bytes((source / file).read_bytes())
        copy_tokenizer(source, draft.folder)
        finished = step.model_copy(
            update={
                "parameters": {**asdict(options), **found, "cpu_flags": cpu_flags()},
                "seconds": round(time.monotonic() - started, 3),
            }
        )
        draft.identity = replace(draft.identity, lineage=[*parent.lineage, finished])
        progress.update(bar, advance=1, status="done")
    return context.store.manifest(task, name)


def _run(job: Job, options: QuantizeOptions) -> Outcome:
    manifest = quantize(job.context, job.task, job.parent, job.name, options, job.files)
    return Outcome(manifest, chosen=[f"Scheme: {options.scheme}."])


TECHNIQUE = Technique("quantize", _run, [QuantizeOptions])
