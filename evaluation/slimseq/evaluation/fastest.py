"""Selects the fastest layout, runtime and variant for this machine by the measurements of manifests.

`slimseq.evaluation.benchmark` measures. The service and the offline commands both select here.
`slimseq.evaluation.speed_up` says how many times as fast as its base model a variant is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from slimseq.evaluation.host import available_cores, cpu_flags, have_same_flags, host_name
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import MeasuredLayout, Performance

Row = TypeVar("Row")

# Several generations at a time compete for memory bandwidth. Several threads reduce the latency of one generation.
MAX_DEFAULT_WORKERS = 4


@dataclass(frozen=True)
class Layout:
    """Number of workers (concurrent generations) and of threads of each worker. 0 lets the runtime decide."""

    workers: int = 1
    threads: int = 0

    def parts(self, rows: Sequence[Row]) -> list[Sequence[Row]]:
        """Splits the rows of a batch evenly into as many parts as there are workers. No part is empty."""
        parts = [rows[worker :: self.workers] for worker in range(self.workers)]
        return [part for part in parts if part]


def even_layouts(cores: int) -> list[Layout]:
    """Returns the layouts that use every core once, the one with the fewest workers first."""
    return [Layout(workers, cores // workers) for workers in range(1, cores + 1) if cores % workers == 0]


def default_layout(cores: int, workers: int = 0, threads: int = 0) -> Layout:
    """Returns the layout for a number of cores if nothing was measured. 0 means: derive the number from the cores."""
    workers = workers or min(cores, MAX_DEFAULT_WORKERS)
    return Layout(workers, threads or max(cores // workers, 1))


def measured_alike(rows: Iterable[tuple[str, tuple[Any, ...], float]]) -> dict[str, float]:
    """Selects one setting, and returns the best value of each name in it: the one rule of this module.

    The setting in which most names were measured is selected. Of several such settings it is the largest one, compared
    as tuples. Names that were not measured in the selected setting are left out.

    Args:
        rows: a name, the setting of a measurement, and the measured value. A larger value is better.
    """
    best_by_setting: defaultdict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    for name, setting, value in rows:
        best = best_by_setting[setting]
        best[name] = max(value, best.get(name, value))
    if not best_by_setting:
        return {}
    selected = max(best_by_setting, key=lambda setting: (len(best_by_setting[setting]), setting))
    return best_by_setting[selected]


def choose_layout(manifest: Manifest, runtime: str, workers: int = 0, threads: int = 0) -> Layout:
    """Returns the layout of a variant on this machine: as set, else the fastest measured, else the default.

    Of `workers` and `threads`, 0 means that they are not set.
    """
    measured = [each for each in _tuned_here(manifest) if each.runtime == runtime]
    if workers or threads or not measured:
        return default_layout(available_cores(), workers, threads)
    best = max(measured, key=lambda each: each.tokens_per_second)
    return Layout(best.workers, best.threads)


def fastest_runtime(manifest: Manifest, possible: Sequence[str]) -> str:
    """Returns the fastest runtime of a variant on this machine, each in its best layout if several were tuned here.

    `possible` has the runtimes that can open the variant, the preferred runtime first. The preferred runtime is
    returned if it was not measured in the same setting as the others.
    """
    tuned = measured_alike(
        (each.runtime, (each.batch, each.num_beams), each.tokens_per_second)
        for each in _tuned_here(manifest)
        if each.runtime in possible
    )
    own = cpu_flags()
    speeds = measured_alike(
        (each.runtime, (each.batch, each.num_beams, each.threads), each.tokens_per_second)
        for each in manifest.performance
        if each.runtime in possible and have_same_flags(each.cpu_flags, own)
    )
    if len(tuned) > 1:
        return max(possible, key=lambda name: tuned.get(name, 0.0))
    if possible[0] in speeds:
        return max(possible, key=lambda name: speeds.get(name, 0.0))
    return possible[0]


def fastest_of(
    manifests: Sequence[Manifest], measured: Mapping[str, Sequence[Performance]]
) -> tuple[Manifest, list[str]]:
    """Returns the fastest of several variants, and the names of those that could not be compared.

    `measured` has, by name, the measurements of each variant on the runtime that serves it. Variants that were not
    measured in the same setting as the others come last. Among equals the variant with the fewest bytes is returned.
    """
    speeds = speeds_on_one_machine({each.variant: measured[each.variant] for each in manifests})

    def order(manifest: Manifest) -> tuple[float, int]:
        return -speeds.get(manifest.variant, 0.0), min(manifest.size.bytes_by_format.values(), default=0)

    return min(manifests, key=order), [each.variant for each in manifests if each.variant not in speeds]


def speeds_on_one_machine(measured: Mapping[str, Sequence[Performance]]) -> dict[str, float]:
    """Returns output tokens a second, by name, of artifacts that were measured on the same machine in the same setting.

    The setting in which most artifacts were measured counts. Among equals, settings of this machine come first, then
    settings with its CPU flags, then settings with the largest batch.
    """
    return measured_alike(
        (name, _machine_of(each), each.tokens_per_second) for name, rows in measured.items() for each in rows
    )


def latencies_on_one_machine(measured: Mapping[str, Sequence[Performance]]) -> dict[str, float]:
    """Returns the median latency of one text, in milliseconds. It follows the rules of `speeds_on_one_machine`."""
    found = measured_alike(
        (name, _machine_of(each), -each.p50_ms) for name, rows in measured.items() for each in rows if each.batch == 1
    )
    return {name: -value for name, value in found.items()}


def _machine_of(measured: Performance) -> tuple[Any, ...]:
    """Returns the setting of a measurement for `measured_alike`. The largest setting is the preferred one."""
    flags = tuple(sorted(measured.cpu_flags))
    is_alike = flags == tuple(sorted(cpu_flags()))
    is_here = is_alike and measured.host == host_name()
    return is_here, is_alike, measured.batch, measured.threads, measured.host, flags


def _tuned_here(manifest: Manifest) -> list[MeasuredLayout]:
    cores, own = available_cores(), cpu_flags()
    return [each for each in manifest.layouts if each.cores == cores and have_same_flags(each.cpu_flags, own)]
