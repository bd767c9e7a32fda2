"""Selects the fastest by the measurements of manifests: the layout, the runtime and the variant for this machine.

`slimseq.evaluation.benchmark` measures. The service and the offline commands both select here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from slimseq.evaluation.host import are_alike, available_cores, cpu_flags, host_name
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import MeasuredLayout, Performance

Row = TypeVar("Row")

# More generations at a time compete for memory bandwidth; more threads for one generation reduce its latency.
MAX_DEFAULT_WORKERS = 4


@dataclass(frozen=True)
class Layout:
    """Number of workers (concurrent generations) and of threads of each. 0 lets the runtime decide."""

    workers: int = 1
    threads: int = 0

    def parts(self, rows: Sequence[Row]) -> list[Sequence[Row]]:
        """Splits the rows of a batch into as many parts as there are workers, as even as possible and none empty."""
        return [part for part in (rows[worker :: self.workers] for worker in range(self.workers)) if part]


@dataclass(frozen=True, order=True)
class Setting:
    """What two speed measurements must have in common to be compared: the machine and the work.

    Args:
        batch: texts generated at once.
        num_beams: number of beams; 0 where each variant uses its own default.
        threads: threads of the runtime.
        host: the machine.
    """

    batch: int
    num_beams: int
    threads: int
    host: str

    @classmethod
    def of(cls, performance: Performance, manifest: Manifest) -> "Setting":
        """Returns the setting of a measurement of a variant."""
        beams = 0 if performance.num_beams == manifest.generation.num_beams else performance.num_beams
        return cls(performance.batch, beams, performance.threads, performance.host)

    def words(self) -> str:
        """Returns the setting in words."""
        beams = _counted(self.num_beams, "beam") if self.num_beams else "each variant's own beams"
        return f"batch {self.batch}, {beams}, {_counted(self.threads, 'thread')}, {self.host}"


def even_layouts(cores: int) -> list[Layout]:
    """Returns the layouts that use every core once, the one with the fewest workers first."""
    return [Layout(workers, cores // workers) for workers in range(1, cores + 1) if cores % workers == 0]


def default_layout(cores: int, workers: int = 0, threads: int = 0) -> Layout:
    """Returns the layout for a number of cores where nothing was measured. 0 means: derive it from the cores."""
    workers = workers or min(cores, MAX_DEFAULT_WORKERS)
    return Layout(workers, threads or max(cores // workers, 1))


def choose_layout(manifest: Manifest, runtime: str, workers: int = 0, threads: int = 0) -> Layout:
    """Returns the layout of a variant on this machine: as set, else the fastest measured, else the default.

    Args:
        manifest: of the variant.
        runtime: that opens it.
        workers: generations at a time, as set; 0 where they are not.
        threads: threads of each, as set; 0 where they are not.
    """
    cores = available_cores()
    measured = None
    if not workers and not threads:
        measured = fastest_layout(manifest.layouts, runtime, cores, cpu_flags())
    return measured or default_layout(cores, workers, threads)


def choose_runtime(manifest: Manifest, possible: Sequence[str]) -> str:
    """Returns the fastest runtime of a variant on this machine.

    Args:
        manifest: of the variant.
        possible: runtimes that can open it, at least one, the preferred first.
    """
    flags = cpu_flags()
    tuned = fastest_in_its_layout(manifest.layouts, possible, available_cores(), flags)
    return tuned or fastest_runtime(manifest.performance, possible, flags)


def fastest_variant(runtimes: Sequence[tuple[Manifest, str]]) -> Manifest:
    """Returns the fastest of several variants, each on its runtime.

    Variants without a comparable measurement come last. Among equals the one with the fewest bytes is returned.
    """
    measured = {
        manifest.variant: [each for each in manifest.performance if each.runtime == runtime]
        for manifest, runtime in runtimes
    }
    speeds = speeds_on_one_machine(measured, cpu_flags())

    def order(manifest: Manifest) -> tuple[float, int]:
        return -speeds.get(manifest.variant, 0.0), min(manifest.size.bytes_by_format.values(), default=0)

    return min((manifest for manifest, _ in runtimes), key=order)


def fastest_layout(
    measured: Sequence[MeasuredLayout], runtime: str, cores: int, cpu_flags: Sequence[str]
) -> Layout | None:
    """Returns the layout with the highest throughput on machines with these cores and CPU flags.

    Args:
        measured: of one artifact.
        runtime: of the artifact.
        cores: of this machine.
        cpu_flags: of this machine.

    Returns:
        None if nothing was measured on such a machine.
    """
    comparable = [each for each in _on_such_machines(measured, cores, cpu_flags) if each.runtime == runtime]
    if not comparable:
        return None
    best = max(comparable, key=lambda each: each.tokens_per_second)
    return Layout(best.workers, best.threads)


def fastest_in_its_layout(
    measured: Sequence[MeasuredLayout], possible: Sequence[str], cores: int, cpu_flags: Sequence[str]
) -> str | None:
    """Returns the runtime with the highest throughput, each in its best layout, on such a machine.

    Args:
        measured: of one artifact.
        possible: runtimes that can open it.
        cores: of this machine.
        cpu_flags: of this machine.

    Returns:
        None if no two runtimes were measured with the same batch and beams on such a machine.
    """
    settings: dict[tuple[int, int], list[MeasuredLayout]] = {}
    for each in _on_such_machines(measured, cores, cpu_flags):
        if each.runtime in possible:
            settings.setdefault((each.batch, each.num_beams), []).append(each)
    comparable = [key for key, group in settings.items() if len({each.runtime for each in group}) > 1]
    if not comparable:
        return None
    return max(settings[max(comparable)], key=lambda each: each.tokens_per_second).runtime


def fastest_runtime(measured: Sequence[Performance], possible: Sequence[str], cpu_flags: Sequence[str]) -> str:
    """Returns the runtime with the highest throughput at the largest batch that all measured runtimes share.

    Args:
        measured: of one artifact.
        possible: runtimes that can open it, at least one, the preferred first.
        cpu_flags: of this machine. Measurements on CPUs with other flags do not count.

    Returns:
        The preferred runtime if it was not measured, or the measurements are not comparable.
    """
    speeds = {
        name: {
            (each.batch, each.num_beams, each.threads): each.tokens_per_second
            for each in measured
            if each.runtime == name and are_alike(each.cpu_flags, cpu_flags)
        }
        for name in possible
    }
    known = [name for name in possible if speeds[name]]
    if possible[0] not in known:
        return possible[0]
    shared = set.intersection(*(set(speeds[name]) for name in known))
    if not shared:
        return possible[0]
    settings = max(shared)
    return max(known, key=lambda name: speeds[name][settings])


def speeds_on_one_machine(measured: Mapping[str, Sequence[Performance]], cpu_flags: Sequence[str]) -> dict[str, float]:
    """Returns output tokens a second of artifacts that were measured on the same machine in the same setting.

    The machine, batch and threads that most artifacts were measured with are selected; among equals those with the CPU
    flags of this machine, then those with the largest batch.

    Args:
        measured: the measurements by name of the artifact, each with its own beams.
        cpu_flags: of this machine.

    Returns:
        Speeds by name, without artifacts that were not measured in that setting.
    """
    found = _on_one_machine(measured, cpu_flags)
    return {name: max(each.tokens_per_second for each in rows) for name, rows in found.items()}


def latencies_on_one_machine(
    measured: Mapping[str, Sequence[Performance]], cpu_flags: Sequence[str]
) -> dict[str, float]:
    """Returns the median latency of one text, in milliseconds, of artifacts measured on the same machine.

    Arguments and result are those of `speeds_on_one_machine`.
    """
    single = {name: [each for each in rows if each.batch == 1] for name, rows in measured.items()}
    found = _on_one_machine(single, cpu_flags)
    return {name: min(each.p50_ms for each in rows) for name, rows in found.items()}


def _on_one_machine(
    measured: Mapping[str, Sequence[Performance]], cpu_flags: Sequence[str]
) -> dict[str, list[Performance]]:
    own = tuple(sorted(cpu_flags))
    by_setting: dict[tuple[bool, int, int, str, tuple[str, ...]], dict[str, list[Performance]]] = defaultdict(dict)
    for name, rows in measured.items():
        for each in rows:
            flags = tuple(sorted(each.cpu_flags))
            setting = flags == own, each.batch, each.threads, each.host, flags
            by_setting[setting].setdefault(name, []).append(each)
    if not by_setting:
        return {}
    return by_setting[max(by_setting, key=lambda settings: (len(by_setting[settings]), settings))]


def speed_up(manifest: Manifest, root: Manifest) -> float | None:
    """Returns the speed of a variant relative to its root, by its fastest measurement.

    Returns:
        None if the variant was not measured, or the root was not in that setting.
    """
    fastest = fastest_measurement(manifest)
    return speed_ratio(fastest, manifest, root) if fastest else None


def fastest_measurement(manifest: Manifest) -> Performance | None:
    """Returns the measurement of a variant at the largest batch and on its fastest runtime.

    Measurements of this machine are used, or those of others if there are none.

    Returns:
        None if the variant was not measured.
    """
    own = [each for each in manifest.performance if each.host == host_name() and are_alike(each.cpu_flags, cpu_flags())]
    return max(own or manifest.performance, key=lambda each: (each.batch, each.tokens_per_second), default=None)


def speed_ratio(measured: Performance, manifest: Manifest, root: Manifest | None) -> float | None:
    """Divides a variant's speed by its root's in the same setting, on the same runtime where that was measured.

    Returns:
        None where the root was not measured in that setting.
    """
    setting = Setting.of(measured, manifest)
    comparable = [each for each in root.performance if Setting.of(each, root) == setting] if root else []
    if not comparable:
        return None
    on_runtime = [each for each in comparable if each.runtime == measured.runtime]
    reference = (on_runtime or comparable)[-1].tokens_per_second
    return measured.tokens_per_second / reference if reference else None


def _on_such_machines(measured: Sequence[MeasuredLayout], cores: int, cpu_flags: Sequence[str]) -> list[MeasuredLayout]:
    return [each for each in measured if each.cores == cores and are_alike(each.cpu_flags, cpu_flags)]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
