"""Builds what derives from the artifacts in a store: ONNX of each original, and its int8 variant.

Nothing is done where everything is there and was made from the artifact as it is now, so it may run before every
start of the service.
"""

from dataclasses import replace

from compression.context import Context
from compression.evaluate import EvaluateOptions, evaluate_variants
from compression.exporting import add_onnx
from compression.quantize import quantize
from models_store.errors import SlimseqError
from models_store.manifest import Task

ORIGINAL = "original"
QUANTIZED = "quantized"


def prepare(context: Context, measure: bool = True) -> list[str]:
    """Builds what is missing or stale.

    Args:
        context: the store.
        measure: evaluate each new int8 variant on the bundled sample, so that `/quality` has scores.

    Returns:
        One sentence for each thing that was built.

    Raises:
        SlimseqError: an artifact to build from is broken; its files are named.
    """
    done = []
    for entry in context.store.scan():
        if entry.manifest is None or not entry.manifest.has_format("safetensors"):
            continue
        if not _is_current(context, entry.task, entry.variant):
            context.say(f"Exporting {entry.task}/{entry.variant} to ONNX …")
            add_onnx(context, entry.task, entry.variant)
            done.append(f"exported {entry.task}/{entry.variant} to ONNX")
    for task in Task:
        if ORIGINAL in context.store.variants(task) and not _has_quantized(context, task):
            context.say(f"Quantizing {task}/{ORIGINAL} to int8 …")
            quantize(replace(context, may_replace=True), task, ORIGINAL, QUANTIZED)
            done.append(f"quantized {task}/{ORIGINAL}")
            if measure:
                context.say(f"Measuring {task}/{QUANTIZED} on the bundled sample …")
                evaluate_variants(context, task, [QUANTIZED], EvaluateOptions(), keep=[QUANTIZED])
    return done


def _is_current(context: Context, task: Task, variant: str) -> bool:
    """Whether an artifact's ONNX export is there, whole, and made from the artifact as it is."""
    try:
        export = context.store.export_of(task, variant, "onnx")
        if export is None and not context.store.manifest(task, variant).has_format("onnx"):
            return False
        context.store.verify(task, variant, only="onnx")
    except SlimseqError as error:
        context.say(f"Found broken: {error}")
        return False
    return True


def _has_quantized(context: Context, task: Task) -> bool:
    """Whether the int8 variant is there, whole, and made from the original as it is."""
    if QUANTIZED not in context.store.variants(task):
        return False
    try:
        context.store.verify(task, QUANTIZED)
        manifest = context.store.manifest(task, QUANTIZED)
    except SlimseqError as error:
        context.say(f"Found broken: {error}")
        return False
    return manifest.parent == context.store.manifest(task, ORIGINAL).digest
