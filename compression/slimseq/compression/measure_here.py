"""Measures briefly how fast the variants of a store are on this machine, so that the service can choose the fastest.

The service compares variants for `min_retention` and `max_latency_ms`. Only figures of one machine in one setting can
be compared, and manifests that came from elsewhere may have figures of several machines. Therefore `prepare` times the
variants of a base model that were not timed together on this machine: one text at a time, in turns, in one run of a few
seconds. The figures go to the store's `speeds.json` (`slimseq.models_store.speeds`) and not to the manifests, so that
manifests in git do not change. `benchmark` measures longer, for figures to publish.
"""

import gc
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from slimseq.compression.artifacts.copies import copy_artifact
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import EXPORTS
from slimseq.evaluation.benchmark import compare
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.fastest import default_layout, fastest_runtime
from slimseq.evaluation.host import available_cores, resident_bytes, trim_memory
from slimseq.evaluation.speed_up import Setting, measurements_of
from slimseq.inference.generator import TextGenerator, open_generator, runtimes_for
from slimseq.inference.runtimes.registry import SERVING_RUNTIMES, RuntimeKind, runtime_named
from slimseq.models_store.errors import InvalidArtifact, SlimseqError
from slimseq.models_store.lineage import group_by_root, is_root
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import Performance
from slimseq.models_store.speeds import Speeds, read_speeds, write_speeds
from slimseq.models_store.store import Store

# Number of texts of the bundled sample. More texts would delay the first start of the service.
TEXTS = 4
# Time for all variants of one base model together. Every variant generates each text at least once, however long that
# takes.
SECONDS = 1.5
# All variants are open at the same time. An open model needs about this many times its bytes on disk.
MEMORY_FACTOR = 1.5
# Share of the free memory that the measurement may take.
MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class TimedArtifact:
    """An artifact to time: on one runtime, from the store that has the runtime's files."""

    manifest: Manifest
    runtime: str
    store: Store

    @property
    def name(self) -> str:
        return f"{self.manifest.variant} on {self.runtime}"


def measure_speeds(context: Context) -> list[str]:
    """Times the variants that cannot be compared yet. Returns the names of the timed variants.

    Variants that cannot be timed are skipped with a message. The service then says that they have no figures.
    """
    measured: list[str] = []
    for task in Task:
        manifests = [each for each in context.store.manifests(task) if not each.is_rejected]
        for group in group_by_root(manifests):
            served = _served(context.store, group)
            if len(served) < 2 or _are_comparable(served, _local_speeds(context, task)):
                continue
            names = ", ".join(each.manifest.variant for each in served)
            try:
                with context.store.claim(task, served[0].manifest.variant, wait=True):
                    # Another process may have measured them in the meantime.
                    if not _are_comparable(served, _local_speeds(context, task)):
                        _measure(context, task, served)
                        measured += [f"{task}/{each.manifest.variant}" for each in served]
            except SlimseqError as error:
                context.say(f"The speed of {task}/{names} was not measured on this machine: {error}")
    return measured


def _served(store: Store, group: Sequence[Manifest]) -> list[TimedArtifact]:
    """Returns the variants that a service can open here, each with the runtime that it would take."""
    found = []
    for manifest in group:
        try:
            kinds = runtimes_for(store, manifest)
        except SlimseqError:
            continue
        possible = [kind.name for kind in kinds if not kind.needs_torch]
        if possible:
            found.append(TimedArtifact(manifest, fastest_runtime(manifest, possible), store))
    return found


def _are_comparable(served: Sequence[TimedArtifact], local: Speeds) -> bool:
    """Whether all variants were timed on this machine in one setting, each on the runtime that serves it.

    A setting is the number of beams and of threads, for one text at a time.
    """
    settings_by_variant: list[set[tuple[int, int]]] = []
    for timed in served:
        measured = [each for each in measurements_of(timed.manifest, local) if each.runtime == timed.runtime]
        settings = [Setting.of(each, timed.manifest) for each in measured]
        settings_by_variant.append(
            {(each.num_beams, each.threads) for each in settings if each.is_here and each.batch == 1}
        )
    return bool(set.intersection(*settings_by_variant))


def _measure(context: Context, task: Task, served: Sequence[TimedArtifact]) -> None:
    needed_bytes = MEMORY_FACTOR * sum(_bytes_on_disk(each) for each in served)
    free_bytes = MEMORY_SHARE * psutil.virtual_memory().available
    names = ", ".join(each.manifest.variant for each in served)
    if needed_bytes > free_bytes:
        context.say(
            f"The speed of {task}/{names} was not measured on this machine: together they need about "
            f"{needed_bytes / 1e9:,.1f} GB, and {free_bytes / 1e9:,.1f} GB are free for that. Measure them with "
            "`slimseq benchmark … --record`."
        )
        return
    context.say(f"Timing {task}/{names} on this machine …")
    with TemporaryDirectory(prefix="slimseq-prepare-") as folder, ExitStack() as stack:
        timed = [*served, *_base_on_other_runtimes(context, task, served, Store(Path(folder)))]
        found = _compare(context, stack, task, timed)
    if any(each.is_rough for each in found.values()):
        context.say("Other processes kept the machine busy meanwhile, so that these speeds are rough.")
    _record(context, task, {each.manifest.digest: found[each.name] for each in served})


def _base_on_other_runtimes(
    context: Context, task: Task, served: Sequence[TimedArtifact], temporary_store: Store
) -> list[TimedArtifact]:
    """Returns the base model on each other runtime that serves a variant: speed-ups compare on the same runtime.

    If the store lacks the base model in the runtime's format, the format is exported in the temporary store. A runtime
    for which that is impossible is left out.
    """
    base = next((each for each in served if is_root(each.manifest)), None)
    if base is None:
        return []
    others = dict.fromkeys(each.runtime for each in served if each.runtime != base.runtime)
    found = []
    for kind in map(runtime_named, others):
        store = context.store
        if not kind.has_files(store, base.manifest):
            if not _can_export(base.manifest, kind):
                continue
            copy_artifact(context.store, temporary_store, base.manifest)
            store = temporary_store
            try:
                EXPORTS[kind.format](Context(store=temporary_store), task, base.manifest.variant)
            except SlimseqError:
                # The family of the base model cannot be exported to this format.
                continue
        found.append(TimedArtifact(base.manifest, kind.name, store))
    return found


def _can_export(manifest: Manifest, kind: RuntimeKind) -> bool:
    return manifest.has_format("safetensors") and kind.format in SERVING_RUNTIMES


def _compare(context: Context, stack: ExitStack, task: Task, timed: Sequence[TimedArtifact]) -> dict[str, Performance]:
    """Opens all artifacts and times them in turns. Returns the measurements by `TimedArtifact.name`."""
    threads = default_layout(available_cores()).threads
    generators: dict[str, TextGenerator] = {}
    resident: dict[str, int] = {}
    for each in timed:
        # The library of the runtime is imported first, and free memory is returned, so that the difference of the
        # resident memory is what the model itself takes.
        runtime_named(each.runtime).opener()
        gc.collect()
        trim_memory()
        before = resident_bytes()
        opened = open_generator(each.store, task, each.manifest.variant, each.runtime, threads)
        generators[each.name] = stack.enter_context(opened)
        resident[each.name] = max(0, resident_bytes() - before)
    bases = {each.runtime: each.name for each in timed if is_root(each.manifest)}
    texts = [example.source for example in load_examples(task, BUNDLED, samples=TEXTS).examples]
    with context.working(f"time {task}"):
        return compare(
            generators,
            texts,
            {each.name: each.manifest.generation.options() for each in timed},
            repeats=1,
            warmup=1,
            threads=threads,
            resident=resident,
            bases={each.name: bases[each.runtime] for each in timed if each.runtime in bases},
            seconds=SECONDS,
        )


def _record(context: Context, task: Task, found: dict[str, Performance]) -> None:
    """Adds measurements to the store's `speeds.json`. They replace earlier ones of this machine and runtime.

    Measurements of artifacts that are not in the store any more are removed.
    """
    stored = {each.digest for each in context.store.manifests(task)}
    speeds = {digest: rows for digest, rows in _local_speeds(context, task).items() if digest in stored}
    for digest, new in found.items():
        others = [each for each in speeds.get(digest, []) if _replacement_key(each) != _replacement_key(new)]
        speeds[digest] = [*others, new]
    write_speeds(context.store.root, task, speeds)


def _replacement_key(measured: Performance) -> tuple[object, ...]:
    """Returns what two measurements of an artifact have in common if the newer one replaces the older one."""
    return measured.host, tuple(sorted(measured.cpu_flags)), measured.runtime, measured.num_beams


def _local_speeds(context: Context, task: Task) -> Speeds:
    """Reads the measurements in the store's `speeds.json`. A file that cannot be read counts as empty."""
    try:
        return read_speeds(context.store.root, task)
    except InvalidArtifact as error:
        context.say(f"{error}. It is written anew.")
        return {}


def _bytes_on_disk(timed: TimedArtifact) -> int:
    """Returns the size of the files that the runtime reads."""
    format_name = runtime_named(timed.runtime).format
    export = timed.store.export_of(timed.manifest.task, timed.manifest.variant, format_name)
    if export is not None:
        return sum(file.bytes for file in export.files)
    size = timed.manifest.size
    return size.bytes_by_format.get(format_name, size.fp32_bytes)
