"""`prepare`: builds the derived files of a store: ONNX exports of artifacts with safetensors, and int8 variants.

It also makes CTranslate2 exports if a manifest's measurements say that they are faster on this kind of CPU.

It does nothing if everything exists and is current, so it may run before every start of the service.

The store may have a record of the manifests of int8 variants (`slimseq.models_store.derived`). If the files of a new
int8 variant equal recorded ones, the variant gets the recorded measurements. Other files are measured on the bundled
sample. `--record` adds the store's manifests to the record. Speeds that cannot be compared are measured briefly on this
machine (`slimseq.compression.measure_here`).

An artifact is replaced only if it can be made again from its parent, or if `prepare` made it from an earlier original.
Other broken artifacts and rejected ones are skipped with a message.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.artifacts.copies import copy_artifact
from slimseq.compression.context import Context
from slimseq.compression.decode import decode
from slimseq.compression.derivations import Derivation, find_derivations, made_by_prepare, quantization
from slimseq.compression.export.exporting import EXPORTS
from slimseq.compression.measure_here import measure_speeds
from slimseq.compression.measure_quality import EvaluateOptions, evaluate_variants, record_scores
from slimseq.compression.quantize.quantize import quantize
from slimseq.evaluation.datasets import BUNDLED_LANGUAGES
from slimseq.evaluation.fastest import fastest_runtime
from slimseq.evaluation.recording import with_newest
from slimseq.inference.graphs.on_demand import is_outdated
from slimseq.inference.runtimes.registry import SERVING_RUNTIMES, RuntimeKind
from slimseq.models_store.derived import DERIVED, read_derived, record_derived
from slimseq.models_store.errors import CannotWrite, InvalidArtifact, SlimseqError
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store


def prepare(context: Context, measure: bool = True) -> list[str]:
    """Builds missing and outdated files, and skips broken and rejected artifacts. Returns a sentence for each build."""
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
        try:
            recorded = read_derived(context.store.root, task)
        except InvalidArtifact as error:
            context.say(f"{error}. Restore or remove the file.")
            recorded = []
        for name, derivation in find_derivations(context, task, recorded).items():
            with _skipping(context, task, name):
                done += _derive(context, task, name, derivation, measure, recorded)
    if measure:
        measure_speeds(context)
    return done


def record_int8_variants(context: Context) -> list[str]:
    """Adds the manifests of int8 variants to the store's record, which every machine reads. Returns what changed."""
    done: list[str] = []
    for task in Task:
        manifests = context.store.manifests(task)
        names = find_derivations(context, task, ())
        found = [each for each in manifests if each.variant in names]
        if found and record_derived(context.store.root, task, found, manifests):
            done.append(f"recorded {', '.join(each.variant for each in found)} in {task}/{DERIVED}")
    return done


@contextmanager
def _skipping(context: Context, task: Task, name: str) -> Iterator[None]:
    """Turns an error of one artifact into a message, so that the others are prepared."""
    try:
        yield
    except CannotWrite:
        raise
    except SlimseqError as error:
        reason = str(error).removeprefix(f"{task}/{name}: ")
        context.say(
            f"Skipped {task}/{name}: {reason}. Restore its files, make it again with --force, or remove it: "
            f"slimseq remove {task} {name} --store {context.store.root}"
        )


def _say_rejected(context: Context, manifest: Manifest) -> None:
    """Says which conditions of its gate a rejected variant fails, and what to do."""
    task, name = manifest.task, manifest.variant
    checks = manifest.gate.checks if manifest.gate else ()
    failed = [f"{check.name} {check.value}, at least {check.limit:g}" for check in checks if not check.is_passed]
    context.say(
        f"Skipped {task}/{name}: its gate rejected it ({'; '.join(failed)}). It serves only requests that name it. "
        f"Build it again, or remove it: slimseq remove {task} {name} --store {context.store.root}"
    )


def _export(context: Context, manifest: Manifest) -> list[str]:
    """Makes the exports that an artifact lacks. Returns a sentence for each."""
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


def _lacks(context: Context, manifest: Manifest, runtime: RuntimeKind) -> bool:
    """Whether a wanted export of an artifact is missing, broken or outdated.

    A format that is built on demand is always wanted, another one if its runtime is the fastest on this kind of CPU.
    """
    task, variant, format_name = manifest.task, manifest.variant, runtime.format
    serving = [kind.name for kind in SERVING_RUNTIMES.values()]
    if runtime.builder is None and fastest_runtime(manifest, serving) != runtime.name:
        return False
    try:
        export = context.store.export_of(task, variant, format_name)
        if export is None and not manifest.has_format(format_name):
            return True
        if export is not None and is_outdated(export):
            return True
        context.store.verify(task, variant, only=format_name)
    except SlimseqError:
        return True
    return False


def _derive(
    context: Context, task: Task, name: str, derivation: Derivation, measure: bool, recorded: Sequence[Manifest]
) -> list[str]:
    """Makes an int8 variant unless a whole one of the current parent exists, and adds its recorded measurements."""
    if _is_current(context, task, name, derivation):
        _take_recorded(context, task, name, recorded)
        return []
    with context.store.claim(task, name, wait=True):
        if _is_current(context, task, name, derivation):  # another process has made it in the meantime
            return []
        before = context.store.manifest(task, name) if name in context.store.variants(task) else None
        context.say(f"Quantizing {task}/{derivation.parent} to int8 …")
        made = _quantize(replace(context, may_replace=True), task, name, derivation)
        # Measurements, verdict and build key of the same files stay valid.
        is_same = before is not None and before.digest == made.digest
        context.store.rewrite_manifest(before if before is not None and is_same else made_by_prepare(made))
        is_measured = _take_recorded(context, task, name, recorded) or is_same
    if measure and not is_measured and made.languages == BUNDLED_LANGUAGES[task]:
        context.say(f"Measuring {task}/{name} on the bundled sample …")
        record_scores(context, evaluate_variants(context, task, [name], EvaluateOptions()), [name])
    return [f"quantized {task}/{derivation.parent} to {name}"]


def _is_current(context: Context, task: Task, name: str, derivation: Derivation) -> bool:
    try:
        manifest = context.store.verify(task, name)
    except SlimseqError:
        return False
    return quantization(manifest).parent == context.store.manifest(task, derivation.parent).digest


def _quantize(context: Context, task: Task, name: str, derivation: Derivation) -> Manifest:
    """Makes an int8 variant. An earlier one stays until the new one is complete."""
    if derivation.search is None:
        return quantize(context, task, derivation.parent, name, derivation.options)
    with TemporaryDirectory(prefix="slimseq-prepare-") as folder:
        temporary = replace(context, store=Store(Path(folder)))
        copy_artifact(context.store, temporary.store, context.store.manifest(task, derivation.parent))
        quantize(temporary, task, derivation.parent, name, derivation.options)
        made = decode(temporary, task, name, name, derivation.search).manifest
        copy_artifact(temporary.store, context.store, made)
    return made


def _take_recorded(context: Context, task: Task, name: str, recorded: Sequence[Manifest]) -> bool:
    """Adds the recorded measurements of an int8 variant's files to its manifest, with the recorded description.

    Newer measurements stay. Returns whether the files are recorded.
    """
    manifest = context.store.manifest(task, name)
    known = next((each for each in recorded if _record_key(each) == _record_key(manifest)), None)
    if known is None:
        return False
    if _with_record(manifest, known) != manifest:
        context.store.update_manifest(manifest, lambda current: _with_record(current, known))
        write_card(context.store.folder(task, name), context.store.manifest(task, name))
    return True


def _with_record(manifest: Manifest, known: Manifest) -> Manifest:
    """Returns a manifest with what is newer in the record, and with its description.

    An earlier version may have made the variant, whose description did not say that the model is for demonstration.
    """
    return with_newest(manifest, known).model_copy(update={"description": known.description})


def _record_key(manifest: Manifest) -> tuple[object, ...]:
    """Returns what two manifests have in common if their files are equal and were made from the same parent."""
    return manifest.variant, manifest.digest, manifest.generation, quantization(manifest).parent
