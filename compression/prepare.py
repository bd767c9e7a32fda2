"""Builds what derives from the artifacts in a store: ONNX of each that has safetensors, and the int8 variants.

CTranslate2 files are added where a manifest says that they are faster on this kind of CPU.

Nothing is done where everything is there and was made from the artifact as it is now, so it may run before every
start of the service. The embedded int8 variants are kept in git as manifests alone, which say what to round and how:
where the bytes that come out are those that a manifest describes, its measurements hold for them, and it stays as it
is.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from compression.beams import TECHNIQUE as BEAMS
from compression.beams import BeamOptions, fewer_beams
from compression.context import Context
from compression.copies import copy_artifact
from compression.evaluate import EvaluateOptions, evaluate_variants
from compression.exporting import add_ctranslate2, add_onnx
from compression.quantization.options import WHOLE
from compression.quantize import QuantizeOptions, quantize
from evaluation.fastest import fastest_runtime
from evaluation.host import cpu_flags
from models_store.errors import SlimseqError
from models_store.graphs.beside import is_outdated
from models_store.manifest import Manifest, Step, Task
from models_store.store import FORMATS, Store

# What of a recorded step says how to round; whether the CPU wants 7 bits, each machine decides itself.
RECORDED = ("scheme", "per_channel", "symmetric", "block_size", "sensitive_layers")
# These are rounded from the parent's weights alone: no data is needed to make them again.
WEIGHTS_ALONE = ("int8-dynamic", "int8-weight-only", "int4-weight-only", *WHOLE)


@dataclass(frozen=True)
class Derivation:
    """How an int8 variant is made: from which variant, how it is rounded, and how many beams it is given then."""

    parent: str
    options: QuantizeOptions = field(default_factory=QuantizeOptions)
    num_beams: int | None = None


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
        if _is_faster_elsewhere(context, entry.manifest):
            context.say(f"Exporting {entry.task}/{entry.variant} to CTranslate2 …")
            add_ctranslate2(context, entry.task, entry.variant)
            done.append(f"exported {entry.task}/{entry.variant} to CTranslate2")
    for task in Task:
        for name, derivation in _derivations(context, task).items():
            manifest = _manifest(context, task, name)
            if manifest is None or not _is_whole(context, manifest, derivation):
                done.append(_derive(context, task, name, derivation, manifest, measure))
    return done


def _derivations(context: Context, task: Task) -> dict[str, Derivation]:
    """Returns what a manifest says was rounded from a variant that is there, and else `quantized` of the original."""
    manifests = context.store.manifests(task)
    sources = {manifest.digest: manifest.variant for manifest in manifests if manifest.has_format("safetensors")}
    found = {}
    for manifest in manifests:
        step = _rounding(manifest)
        if (parent := sources.get(step.parent or "")) and (options := _options_of(step)):
            is_last = step is manifest.lineage[-1]
            found[manifest.variant] = Derivation(parent, options, None if is_last else manifest.generation.num_beams)
    return ({"quantized": Derivation("original")} if "original" in sources.values() else {}) | found


def _rounding(manifest: Manifest) -> Step:
    """Returns the last step but for those that only gave the search other beams."""
    steps = [step for step in manifest.lineage if step.technique != BEAMS]
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


def _derive(
    context: Context, task: Task, name: str, derivation: Derivation, before: Manifest | None, measure: bool
) -> str:
    context.say(f"Quantizing {task}/{derivation.parent} to int8 …")
    made = _rounded(replace(context, may_replace=True), task, name, derivation)
    if before is not None and before.digest == made.digest:
        # What was measured holds, and so do the verdict and the key of a build.
        context.store.rewrite_manifest(before)
    elif measure:
        context.say(f"Measuring {task}/{name} on the bundled sample …")
        evaluate_variants(context, task, [name], EvaluateOptions(), keep=[name])
    return f"quantized {task}/{derivation.parent}"


def _rounded(context: Context, task: Task, name: str, derivation: Derivation) -> Manifest:
    """Makes an int8 variant; what was there before stays until all of it is made."""
    if derivation.num_beams is None:
        return quantize(context, task, derivation.parent, name, derivation.options)
    with TemporaryDirectory(prefix="slimseq-prepare-") as folder:
        apart = replace(context, store=Store(Path(folder)))
        copy_artifact(context.store, apart.store, context.store.manifest(task, derivation.parent))
        quantize(apart, task, derivation.parent, name, derivation.options)
        made = fewer_beams(apart, task, name, name, BeamOptions(derivation.num_beams)).manifest
        copy_artifact(apart.store, context.store, made)
    return made


def _is_current(context: Context, task: Task, variant: str) -> bool:
    """Whether an artifact's ONNX export is there, whole, and made from the artifact as it is."""
    try:
        export = context.store.export_of(task, variant, "onnx")
        if export is None and not context.store.manifest(task, variant).has_format("onnx"):
            return False
        if export is not None and is_outdated(export):
            return False
        context.store.verify(task, variant, only="onnx")
    except SlimseqError as error:
        context.say(f"Found broken: {error}")
        return False
    return True


def _is_faster_elsewhere(context: Context, manifest: Manifest) -> bool:
    """Whether CTranslate2 was measured to be faster on this kind of CPU, and what it reads is not there."""
    task, variant = manifest.task, manifest.variant
    if fastest_runtime(manifest.performance, ["onnxruntime", "ctranslate2"], cpu_flags()) != "ctranslate2":
        return False
    try:
        if context.store.export_of(task, variant, "ctranslate2") is None:
            return True
        context.store.verify(task, variant, only="ctranslate2")
    except SlimseqError as error:
        context.say(f"Found broken: {error}")
        return True
    return False


def _is_whole(context: Context, manifest: Manifest, derivation: Derivation) -> bool:
    """Whether an int8 variant's files are there, whole, and made from its parent as it is."""
    task, name = manifest.task, manifest.variant
    if _is_unbuilt(context, task, name):
        return False
    try:
        context.store.verify(task, name)
    except SlimseqError as error:
        context.say(f"Found broken: {error}")
        return False
    return _rounding(manifest).parent == context.store.manifest(task, derivation.parent).digest


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
