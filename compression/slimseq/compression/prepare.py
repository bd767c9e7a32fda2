"""`prepare`: builds the derived files of a store: ONNX exports of artifacts with safetensors, and int8 variants.

It also makes CTranslate2 exports if a manifest's measurements say that they are faster on this kind of CPU.

It does nothing if everything exists and is current, so it may run before every start of the service. Git has only the
manifests of the embedded int8 variants, which say how to quantize. If the files that are built match the digest in the
manifest, its measurements are valid, and the manifest is kept, with a signature where there is one.

An artifact is replaced only if it can be made again from its parent, or if `prepare` made it from an earlier original.
Other broken artifacts and rejected ones are skipped with a message.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.artifacts.copies import copy_artifact
from slimseq.compression.commands.arguments import JsonOption, StoreOption, open_context, print_json, print_line
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import EXPORTS
from slimseq.compression.measure.evaluate import EvaluateOptions, evaluate_variants
from slimseq.compression.options import COMMON
from slimseq.compression.quantize.options import WHOLE
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.compression.tune_beams import TECHNIQUE as BEAMS
from slimseq.compression.tune_beams import BeamOptions, tune_beams
from slimseq.evaluation.fastest import choose_runtime
from slimseq.inference.graphs.on_demand import is_outdated
from slimseq.inference.runtimes.registry import SERVING_RUNTIMES, RuntimeKind
from slimseq.models_store.disk import CannotWrite
from slimseq.models_store.errors import InvalidArtifact, SlimseqError
from slimseq.models_store.files import SIGNATURE
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import Manifest, Step, Task
from slimseq.models_store.store import Store

# The recorded options that say how to quantize. `reduce_range` is not one: it depends on the CPU.
RECORDED = ("scheme", "per_channel", "symmetric", "block_size", "sensitive_layers")
DEFAULT = "quantized"
# A parameter of a step: `prepare` made the artifact and may make it again from another original.
MADE_BY = "made_by"
PREPARE = "prepare"
# Schemes that need no data, so that an artifact can be made again from its parent.
DATA_FREE_SCHEMES = ("int8-dynamic", "int8-weight-only", "int4-weight-only", *WHOLE)


@dataclass(frozen=True)
class Derivation:
    """How an int8 variant is made: its parent, the quantization, and the number of beams that is set afterwards."""

    parent: str
    options: QuantizeOptions = field(default_factory=QuantizeOptions)
    num_beams: int | None = None


def prepare(context: Context, measure: bool = True) -> list[str]:
    """Builds missing and outdated files, and skips broken and rejected artifacts.

    Args:
        context: the store.
        measure: whether to evaluate new int8 variants on the bundled sample, so that `/quality` has scores.

    Returns:
        One sentence for each build.

    Raises:
        CannotWrite: the disk is full or read-only.
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
    """Returns the message of an error, with the artifact's name once."""
    return f"{task}/{name}: {str(error).removeprefix(f'{task}/{name}: ')}"


@contextmanager
def _skipping(context: Context, task: Task, name: str) -> Iterator[None]:
    """Turns an error of one artifact into a message, so that the others are prepared."""
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
        f"Skipped {task}/{name}: its gate rejected it ({'; '.join(failed)}). It serves only requests that name it. "
        f"Build it again, or remove it: slimseq remove {task} {name} --store {context.store.root}"
    )


def _export(context: Context, manifest: Manifest) -> list[str]:
    """Makes the missing exports of an artifact."""
    task, name = manifest.task, manifest.variant
    done = []
    for runtime in SERVING_RUNTIMES.values():
        if not _lacks(context, manifest, runtime):
            continue
        with context.store.claim(task, name, wait=True):
            # Another process may have made it in the meantime.
            if _lacks(context, manifest, runtime):
                context.say(f"Exporting {task}/{name} to {runtime.format} …")
                EXPORTS[runtime.format](context, task, name)
                done.append(f"exported {task}/{name} to {runtime.format}")
    return done


def _derivations(context: Context, task: Task) -> dict[str, Derivation]:
    """Returns the int8 variants that can be made: those in the store, and `quantized` from the original."""
    manifests = context.store.manifests(task)
    sources = {manifest.digest: manifest.variant for manifest in manifests if manifest.has_format("safetensors")}
    found = {}
    for manifest in manifests:
        step = _quantizer(manifest)
        if (parent := sources.get(step.parent or "")) and (options := _options_of(step)):
            is_last = step is manifest.lineage[-1]
            found[manifest.variant] = Derivation(parent, options, None if is_last else manifest.generation.num_beams)
    default = Derivation("original")
    if default.parent in sources.values() and DEFAULT not in found:
        before = next((manifest for manifest in manifests if manifest.variant == DEFAULT), None)
        is_free = not os.path.lexists(context.store.folder(task, DEFAULT))
        if is_free or (before is not None and _quantizer(before).parameters.get(MADE_BY) == PREPARE):
            found[DEFAULT] = default
    rejected = {manifest.variant for manifest in manifests if manifest.is_rejected}
    return {name: derivation for name, derivation in found.items() if name not in rejected}


def _quantizer(manifest: Manifest) -> Step:
    """Returns the last step but for those that only gave the search other beams."""
    steps = [step for step in manifest.lineage if step.technique not in (BEAMS.name, BEAMS.key_name)]
    return steps[-1] if steps else manifest.lineage[-1]


def _options_of(step: Step) -> QuantizeOptions | None:
    """Returns the options of a quantization step; None for other steps, and for schemes that need data."""
    given = step.parameters
    if step.technique != "quantize" or given.get("fallback") is not None or given.get("aware_steps"):
        return None
    if given.get("scheme") not in DATA_FREE_SCHEMES:
        return None
    recorded = {name: given[name] for name in RECORDED if name in given}
    if recorded.get("sensitive_layers") is not None:
        recorded["sensitive_layers"] = tuple(recorded["sensitive_layers"])
    return QuantizeOptions(**recorded)


def _derive(context: Context, task: Task, name: str, derivation: Derivation, measure: bool) -> list[str]:
    with context.store.claim(task, name, wait=True):
        flaw = _flaw(context, task, name, derivation)
        if flaw is None:  # another process has made it in the meantime
            return []
        if flaw:
            context.say(f"Found broken: {flaw}")
        before = context.store.manifest(task, name) if name in context.store.variants(task) else None
        signature = context.store.folder(task, name) / SIGNATURE
        signed = signature.read_bytes() if signature.is_file() else None
        context.say(f"Quantizing {task}/{derivation.parent} to int8 …")
        made = _quantized(replace(context, may_replace=True), task, name, derivation)
        if before is not None and before.digest == made.digest:
            # Measurements, verdict, build key and signature stay valid.
            context.store.rewrite_manifest(before)
            if signed is not None:
                signature.write_bytes(signed)
            return [f"quantized {task}/{derivation.parent} to {name}"]
        context.store.rewrite_manifest(_marked(made))
    if measure:
        context.say(f"Measuring {task}/{name} on the bundled sample …")
        evaluate_variants(context, task, [name], EvaluateOptions(), keep=[name])
    return [f"quantized {task}/{derivation.parent} to {name}"]


def _marked(manifest: Manifest) -> Manifest:
    """Returns a manifest that says that `prepare` made the int8 variant."""
    step = _quantizer(manifest)
    marked = step.model_copy(update={"parameters": {**step.parameters, MADE_BY: PREPARE}})
    return manifest.model_copy(update={"lineage": [marked if each is step else each for each in manifest.lineage]})


def _quantized(context: Context, task: Task, name: str, derivation: Derivation) -> Manifest:
    """Makes an int8 variant. An earlier one stays until the new one is complete."""
    if derivation.num_beams is None:
        return quantize(context, task, derivation.parent, name, derivation.options)
    with TemporaryDirectory(prefix="slimseq-prepare-") as folder:
        apart = replace(context, store=Store(Path(folder)))
        copy_artifact(context.store, apart.store, context.store.manifest(task, derivation.parent))
        quantize(apart, task, derivation.parent, name, derivation.options)
        made = tune_beams(apart, task, name, name, BeamOptions(derivation.num_beams)).manifest
        copy_artifact(apart.store, context.store, made)
    return made


def _lacks(context: Context, manifest: Manifest, runtime: RuntimeKind) -> bool:
    """Whether a wanted export of an artifact is missing, broken or outdated.

    A format that is built on demand is always wanted, another one if its runtime is the fastest on this kind of CPU.
    """
    task, variant, form = manifest.task, manifest.variant, runtime.format
    serving = [kind.name for kind in SERVING_RUNTIMES.values()]
    if runtime.builder is None and choose_runtime(manifest, serving) != runtime.name:
        return False
    try:
        export = context.store.export_of(task, variant, form)
        if export is None and not manifest.has_format(form):
            return True
        if export is not None and is_outdated(export):
            return True
        context.store.verify(task, variant, only=form)
    except SlimseqError:
        return True
    return False


def _flaw(context: Context, task: Task, name: str, derivation: Derivation) -> str | None:
    """Returns what is broken in an int8 variant, "" if it is only missing or outdated, None if it is current."""
    if name not in context.store.variants(task) or _is_unbuilt(context, task, name):
        return ""
    try:
        context.store.verify(task, name)
    except SlimseqError as error:
        return str(error)
    parent = context.store.manifest(task, derivation.parent).digest
    return None if _quantizer(context.store.manifest(task, name)).parent == parent else ""


def _is_unbuilt(context: Context, task: Task, name: str) -> bool:
    """Whether the files of a manifest were never built here, so that the artifact is not broken."""
    return not any((context.store.folder(task, name) / name_of_format).exists() for name_of_format in DERIVED_FORMATS)


def command(
    *,
    measure: Annotated[bool, Parameter(group=COMMON, help="Evaluate new int8 variants on the bundled sample.")] = True,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build what is missing: ONNX or CTranslate2 of artifacts with safetensors, and their int8 variants."""
    context = open_context(store)
    with context.working("prepare"):
        done = prepare(context, measure)
    if as_json:
        print_json(done)
    else:
        print_line("; ".join(done) if done else "nothing to build")
