"""Builds what derives from the artifacts in a store: ONNX of each that has safetensors, and the int8 variants.

Nothing is done where everything is there and was made from the artifact as it is now, so it may run before every
start of the service. The embedded int8 variants are kept in git as manifests alone: where the bytes that come out are
those that a manifest describes, its measurements hold for them, and it stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from compression.context import Context
from compression.evaluate import EvaluateOptions, evaluate_variants
from compression.exporting import add_onnx
from compression.quantize import QuantizeOptions, quantize
from models_store.errors import SlimseqError
from models_store.manifest import Manifest, Task
from models_store.store import FORMATS


@dataclass(frozen=True)
class Derivation:
    """How an int8 variant is made: from which variant, and how it is rounded."""

    parent: str
    options: QuantizeOptions = field(default_factory=QuantizeOptions)


DERIVED: Mapping[str, Derivation] = {
    "quantized": Derivation("original"),
    "compact": Derivation("compact-float", QuantizeOptions(scheme="ctranslate2-int8")),
}


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
        for name, derivation in DERIVED.items():
            if derivation.parent not in context.store.variants(task):
                continue
            manifest = _manifest(context, task, name)
            if manifest is None or not _is_whole(context, manifest):
                done.append(_derive(context, task, name, derivation, manifest, measure))
    return done


def _derive(
    context: Context, task: Task, name: str, derivation: Derivation, before: Manifest | None, measure: bool
) -> str:
    context.say(f"Quantizing {task}/{derivation.parent} to int8 …")
    made = quantize(replace(context, may_replace=True), task, derivation.parent, name, derivation.options)
    if before is not None and before.digest == made.digest:
        context.store.rewrite_manifest(before)
    elif measure:
        context.say(f"Measuring {task}/{name} on the bundled sample …")
        evaluate_variants(context, task, [name], EvaluateOptions(), keep=[name])
    return f"quantized {task}/{derivation.parent}"


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


def _is_whole(context: Context, manifest: Manifest) -> bool:
    """Whether an int8 variant's files are there, whole, and made from its parent as it is."""
    task, name = manifest.task, manifest.variant
    if _is_unbuilt(context, task, name):
        return False
    try:
        context.store.verify(task, name)
    except SlimseqError as error:
        context.say(f"Found broken: {error}")
        return False
    return manifest.parent == context.store.manifest(task, DERIVED[name].parent).digest


def _manifest(context: Context, task: Task, name: str) -> Manifest | None:
    if name not in context.store.variants(task):
        return None
    try:
        return context.store.manifest(task, name)
    except SlimseqError as error:
        context.say(f"Found broken: {error}")
        return None


def _is_unbuilt(context: Context, task: Task, name: str) -> bool:
    """Whether a manifest describes files that were never built here, which is no damage."""
    return not any((context.store.folder(task, name) / name_of_format).exists() for name_of_format in FORMATS)
