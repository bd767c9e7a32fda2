"""Builds what derives from the artifacts in a store: ONNX of each that has safetensors, and the int8 variants.

CTranslate2 files are added where a manifest says that they are faster on this kind of CPU.

Nothing is done where everything is there and was made from the artifact as it is now, so it may run before every
start of the service. The embedded int8 variants are kept in git as manifests alone, which say what to round and how:
where the bytes that come out are those that a manifest describes, its measurements hold for them, and it stays as it
is.

An artifact is replaced only where it can be made again from its parent, or was made here from an earlier original. What
is broken otherwise, and what a gate rejected, is skipped with a line that says so: neither stops the rest.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from slimseq.compression.context import Context
from slimseq.compression.copies import copy_artifact
from slimseq.compression.evaluate import EvaluateOptions, evaluate_variants
from slimseq.compression.export.exporting import add_ctranslate2, add_onnx
from slimseq.compression.quantize.options import WHOLE
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.compression.tune_beams import TECHNIQUE as BEAMS
from slimseq.compression.tune_beams import BeamOptions, tune_beams
from slimseq.evaluation.fastest import choose_runtime
from slimseq.inference.graphs.beside import is_outdated
from slimseq.models_store.disk import CannotWrite
from slimseq.models_store.errors import InvalidArtifact, SlimseqError
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import Manifest, Step, Task
from slimseq.models_store.store import Store

# What of a recorded step says how to round; whether the CPU wants 7 bits, each machine decides itself.
RECORDED = ("scheme", "per_channel", "symmetric", "block_size", "sensitive_layers")
DEFAULT = "quantized"
# In the parameters of a step: this module made it, and may make it anew of another original.
MADE_BY = "made_by"
PREPARE = "prepare"
# These are rounded from the parent's weights alone: no data is needed to make them again.
WEIGHTS_ALONE = ("int8-dynamic", "int8-weight-only", "int4-weight-only", *WHOLE)


@dataclass(frozen=True)
class Derivation:
    """How an int8 variant is made: from which variant, how it is rounded, and how many beams it is given then."""

    parent: str
    options: QuantizeOptions = field(default_factory=QuantizeOptions)
    num_beams: int | None = None


def prepare(context: Context, measure: bool = True) -> list[str]:
    """Builds what is missing or stale, and skips what is broken or rejected.

    Args:
        context: the store.
        measure: evaluate each new int8 variant on the bundled sample, so that `/quality` has scores.

    Returns:
        One sentence for each thing that was built.

    Raises:
        CannotWrite: the disk is full, or may not be written.
    """
    done: list[str] = []
    for entry in context.store.scan():
        with _skipping(context, entry.task, entry.variant):
            if entry.manifest is None:
                raise entry.error or InvalidArtifact(f"{entry.task}/{entry.variant} cannot be read")
            if entry.manifest.is_rejected:
                _say_rejected(context, entry.manifest)
            elif entry.manifest.has_format("safetensors"):
                done += _export(context, entry.manifest)
    for task in Task:
        for name, derivation in _derivations(context, task).items():
            with _skipping(context, task, name):
                if _flaw(context, task, name, derivation) is not None:
                    done += _derive(context, task, name, derivation, measure)
    return done


def _named(task: Task, name: str, error: SlimseqError) -> str:
    """Returns what is wrong with an artifact, with its name once."""
    return f"{task}/{name}: {str(error).removeprefix(f'{task}/{name}: ')}"


@contextmanager
def _skipping(context: Context, task: Task, name: str) -> Iterator[None]:
    """Turns what is wrong with one artifact into a line, so that the others are prepared."""
    try:
        yield
    except CannotWrite:
        raise
    except SlimseqError as error:
        context.say(
            f"Skipped {_named(task, name, error)}. Restore its files, make it again with --force, or remove it: "
            f"slimseq remove {task} {name} --store {context.store.root}"
        )


def _say_rejected(context: Context, manifest: Manifest) -> None:
    task, name = manifest.task, manifest.variant
    failed = [
        f"{check.name} {check.value:g}, at least {check.limit:g}"
        for check in (manifest.gate.checks if manifest.gate else ())
        if not check.is_passed
    ]
    context.say(
        f"Skipped {task}/{name}: its gate rejected it ({'; '.join(failed)}), and it answers only where a request names "
        f"it. Build it again, or remove it: slimseq remove {task} {name} --store {context.store.root}"
    )


def _export(context: Context, manifest: Manifest) -> list[str]:
    """Exports an artifact to the formats that serve it, as far as they are missing."""
    task, name = manifest.task, manifest.variant
    done = []
    for words, is_due, add in (
        ("ONNX", _lacks_onnx, add_onnx),
        ("CTranslate2", _lacks_ctranslate2, add_ctranslate2),
    ):
        if not is_due(context, manifest):
            continue
        with context.store.claim(task, name, wait=True):
            # Another process may just have made it.
            if is_due(context, manifest):
                context.say(f"Exporting {task}/{name} to {words} …")
                add(context, task, name)
                done.append(f"exported {task}/{name} to {words}")
    return done


def _derivations(context: Context, task: Task) -> dict[str, Derivation]:
    """Returns what can be made again: int8 of a variant that is there, and else `quantized` of the original."""
    manifests = context.store.manifests(task)
    sources = {manifest.digest: manifest.variant for manifest in manifests if manifest.has_format("safetensors")}
    found = {}
    for manifest in manifests:
        step = _quantizer(manifest)
        if (parent := sources.get(step.parent or "")) and (options := _options_of(step)):
            is_last = step is manifest.lineage[-1]
            found[manifest.variant] = Derivation(parent, options, None if is_last else manifest.generation.num_beams)
    usual = Derivation("original")
    if usual.parent in sources.values() and DEFAULT not in found:
        before = next((manifest for manifest in manifests if manifest.variant == DEFAULT), None)
        is_free = not os.path.lexists(context.store.folder(task, DEFAULT))
        if is_free or (before is not None and _quantizer(before).parameters.get(MADE_BY) == PREPARE):
            found[DEFAULT] = usual
    rejected = {manifest.variant for manifest in manifests if manifest.is_rejected}
    return {name: derivation for name, derivation in found.items() if name not in rejected}


def _quantizer(manifest: Manifest) -> Step:
    """Returns the last step but for those that only gave the search other beams."""
    steps = [step for step in manifest.lineage if step.technique not in (BEAMS.name, BEAMS.key_name)]
    return steps[-1] if steps else manifest.lineage[-1]


def _options_of(step: Step) -> QuantizeOptions | None:
    """Returns how a step rounded; None where it did not, or not by its parent's weights alone."""
    given = step.parameters
    if step.technique != "quantize" or given.get("fallback") is not None or given.get("aware_steps"):
        return None
    if given.get("scheme") not in WEIGHTS_ALONE:
        return None
    recorded = {name: given[name] for name in RECORDED if name in given}
    if recorded.get("sensitive_layers") is not None:
        recorded["sensitive_layers"] = tuple(recorded["sensitive_layers"])
    return QuantizeOptions(**recorded)


def _derive(context: Context, task: Task, name: str, derivation: Derivation, measure: bool) -> list[str]:
    with context.store.claim(task, name, wait=True):
        flaw = _flaw(context, task, name, derivation)
        if flaw is None:  # another process has just made it
            return []
        if flaw:
            context.say(f"Found broken: {flaw}")
        before = context.store.manifest(task, name) if name in context.store.variants(task) else None
        context.say(f"Quantizing {task}/{derivation.parent} to int8 …")
        made = _quantized(replace(context, may_replace=True), task, name, derivation)
        if before is not None and before.digest == made.digest:
            # What was measured holds, and so do the verdict and the key of a build.
            context.store.rewrite_manifest(before)
            return [f"quantized {task}/{derivation.parent} to {name}"]
        context.store.rewrite_manifest(_marked(made))
    if measure:
        context.say(f"Measuring {task}/{name} on the bundled sample …")
        evaluate_variants(context, task, [name], EvaluateOptions(), keep=[name])
    return [f"quantized {task}/{derivation.parent} to {name}"]


def _marked(manifest: Manifest) -> Manifest:
    """Returns a manifest that says who made the int8 variant."""
    step = _quantizer(manifest)
    marked = step.model_copy(update={"parameters": {**step.parameters, MADE_BY: PREPARE}})
    return manifest.model_copy(update={"lineage": [marked if each is step else each for each in manifest.lineage]})


def _quantized(context: Context, task: Task, name: str, derivation: Derivation) -> Manifest:
    """Makes an int8 variant; what was there before stays until all of it is made."""
    if derivation.num_beams is None:
        return quantize(context, task, derivation.parent, name, derivation.options)
    with TemporaryDirectory(prefix="slimseq-prepare-") as folder:
        apart = replace(context, store=Store(Path(folder)))
        copy_artifact(context.store, apart.store, context.store.manifest(task, derivation.parent))
        quantize(apart, task, derivation.parent, name, derivation.options)
        made = tune_beams(apart, task, name, name, BeamOptions(derivation.num_beams)).manifest
        copy_artifact(apart.store, context.store, made)
    return made


def _lacks_onnx(context: Context, manifest: Manifest) -> bool:
    """Whether an artifact's ONNX export is missing, broken, or not made from the artifact as it is."""
    task, variant = manifest.task, manifest.variant
    try:
        export = context.store.export_of(task, variant, "onnx")
        if export is None and not manifest.has_format("onnx"):
            return True
        if export is not None and is_outdated(export):
            return True
        context.store.verify(task, variant, only="onnx")
    except SlimseqError:
        return True
    return False


def _lacks_ctranslate2(context: Context, manifest: Manifest) -> bool:
    """Whether CTranslate2 was measured to be faster on this kind of CPU, and what it reads is missing or broken."""
    task, variant = manifest.task, manifest.variant
    if choose_runtime(manifest, ["onnxruntime", "ctranslate2"]) != "ctranslate2":
        return False
    try:
        if context.store.export_of(task, variant, "ctranslate2") is None:
            return True
        context.store.verify(task, variant, only="ctranslate2")
    except SlimseqError:
        return True
    return False


def _flaw(context: Context, task: Task, name: str, derivation: Derivation) -> str | None:
    """Returns what is broken in an int8 variant, "" where it is only missing or stale, None where nothing is to do."""
    if name not in context.store.variants(task) or _is_unbuilt(context, task, name):
        return ""
    try:
        context.store.verify(task, name)
    except SlimseqError as error:
        return str(error)
    parent = context.store.manifest(task, derivation.parent).digest
    return None if _quantizer(context.store.manifest(task, name)).parent == parent else ""


def _is_unbuilt(context: Context, task: Task, name: str) -> bool:
    """Whether a manifest describes files that were never built here, which is no damage."""
    return not any((context.store.folder(task, name) / name_of_format).exists() for name_of_format in DERIVED_FORMATS)
