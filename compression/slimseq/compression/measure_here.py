"""Measures how fast the variants of a store are on this machine, briefly, so that the service can choose the fastest.

`min_retention` and `max_latency_ms` compare variants, and only figures of one machine in one setting can be compared.
Manifests that came from elsewhere may have figures of several machines. So `prepare` times the variants of a base model
that were not timed beside each other here: one text at a time, in turns, in one run of a few seconds. The figures are
in the store's `speeds.json` (`slimseq.models_store.speeds`), not in manifests: those of git do not change.
`benchmark` measures longer, for figures to publish.
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

# Of the bundled sample. The more texts, the longer the first start.
TEXTS = 4
# For all variants of one base model together. Each text is generated once by every variant whatever it takes.
SECONDS = 1.5
# Variants are open at the same time. A model needs about this many times its bytes on disk, with its buffers.
MEMORY_FACTOR = 1.5
# Part of the free memory that the measurement may take.
MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Timed:
    """An artifact to time: on one runtime, from the store that has the runtime's files."""

    manifest: Manifest
    runtime: str
    store: Store

    @property
    def name(self) -> str:
        return f"{self.manifest.variant} on {self.runtime}"


def measure_speeds(context: Context) -> list[str]:
    """Times the variants that cannot be compared yet. Returns the names of those that were timed.

    What cannot be timed is skipped with a message: it has no figures then, and the service says so.
    """
    measured: list[str] = []
    for task in Task:
        manifests = [each for each in context.store.manifests(task) if not each.is_rejected]
        for group in group_by_root(manifests):
            served = _served(context.store, group)
            if len(served) < 2 or _are_comparable(served, _read(context, task)):
                continue
            names = ", ".join(each.manifest.variant for each in served)
            try:
                with context.store.claim(task, served[0].manifest.variant, wait=True):
                    # Another process may have measured them in the meantime.
                    if not _are_comparable(served, _read(context, task)):
                        _measure(context, task, served)
                        measured += [f"{task}/{each.manifest.variant}" for each in served]
            except SlimseqError as error:
                context.say(f"The speed of {task}/{names} was not measured on this machine: {error}")
    return measured


def _served(store: Store, group: Sequence[Manifest]) -> list[Timed]:
    """Returns the variants that a service can open here, each with the runtime that it would take."""
    found = []
    for manifest in group:
        try:
            kinds = runtimes_for(store, manifest)
        except SlimseqError:
            continue
        possible = [kind.name for kind in kinds if not kind.needs_torch]
        if possible:
            found.append(Timed(manifest, fastest_runtime(manifest, possible), store))
    return found


def _are_comparable(served: Sequence[Timed], local: Speeds) -> bool:
    """Whether all were timed here in one setting, one text at a time, each on the runtime that serves it."""
    common: set[tuple[int, int]] | None = None
    for timed in served:
        measured = [each for each in measurements_of(timed.manifest, local) if each.runtime == timed.runtime]
        settings = [Setting.of(each, timed.manifest) for each in measured]
        found = {(each.num_beams, each.threads) for each in settings if each.is_here and each.batch == 1}
        common = found if common is None else common & found
    return bool(common)


def _measure(context: Context, task: Task, served: Sequence[Timed]) -> None:
    needed = MEMORY_FACTOR * sum(_bytes(each) for each in served)
    free = MEMORY_SHARE * psutil.virtual_memory().available
    names = ", ".join(each.manifest.variant for each in served)
    if needed > free:
        context.say(
            f"The speed of {task}/{names} was not measured on this machine: together they need about "
            f"{needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free for that. Measure them with "
            "`slimseq benchmark … --record`."
        )
        return
    context.say(f"Timing {task}/{names} on this machine …")
    with TemporaryDirectory(prefix="slimseq-prepare-") as folder, ExitStack() as stack:
        timed = [*served, *_bases(context, task, served, Store(Path(folder)))]
        found = _compare(context, stack, task, timed)
    if any(each.is_rough for each in found.values()):
        context.say("Other processes kept the machine busy meanwhile, so that these speeds are rough.")
    _record(context, task, {each.manifest.digest: found[each.name] for each in served})


def _bases(context: Context, task: Task, served: Sequence[Timed], apart: Store) -> list[Timed]:
    """Returns the base model on the other runtimes that its variants are served with, for their speed-ups.

    A format that the store does not have of it is made in the store `apart`, where it can be.
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
            copy_artifact(context.store, apart, base.manifest)
            store = apart
            try:
                EXPORTS[kind.format](Context(store=apart), task, base.manifest.variant)
            except SlimseqError:
                # This family has no such format.
                continue
        found.append(Timed(base.manifest, kind.name, store))
    return found


def _can_export(manifest: Manifest, kind: RuntimeKind) -> bool:
    return manifest.has_format("safetensors") and kind.format in SERVING_RUNTIMES


def _compare(context: Context, stack: ExitStack, task: Task, timed: Sequence[Timed]) -> dict[str, Performance]:
    threads = default_layout(available_cores()).threads
    generators: dict[str, TextGenerator] = {}
    resident: dict[str, int] = {}
    for each in timed:
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
    """Adds measurements to those of this store, in place of earlier ones of this machine and runtime.

    Those of artifacts that are gone are removed.
    """
    stored = {each.digest for each in context.store.manifests(task)}
    speeds = {digest: rows for digest, rows in _read(context, task).items() if digest in stored}
    for digest, new in found.items():
        others = [each for each in speeds.get(digest, []) if _machine(each) != _machine(new)]
        speeds[digest] = [*others, new]
    write_speeds(context.store.root, task, speeds)


def _machine(measured: Performance) -> tuple[object, ...]:
    return measured.host, tuple(sorted(measured.cpu_flags)), measured.runtime, measured.num_beams


def _read(context: Context, task: Task) -> Speeds:
    try:
        return read_speeds(context.store.root, task)
    except InvalidArtifact as error:
        context.say(f"{error}. It is written anew.")
        return {}


def _bytes(timed: Timed) -> int:
    form = runtime_named(timed.runtime).format
    sizes = timed.manifest.size.bytes_by_format
    export = timed.store.export_of(timed.manifest.task, timed.manifest.variant, form)
    if export is not None:
        return sum(file.bytes for file in export.files)
    return sizes.get(form, timed.manifest.size.fp32_bytes)
