"""How a machine's cores are shared out among generations that run at a time, and which way was measured to be best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from slimseq.evaluation.host import are_alike
from slimseq.models_store.manifest import MeasuredLayout

Row = TypeVar("Row")


@dataclass(frozen=True)
class Layout:
    """So many generations at a time, each with so many threads; 0 leaves their number to the runtime."""

    workers: int = 1
    threads: int = 0

    def parts(self, rows: Sequence[Row]) -> list[Sequence[Row]]:
        """Returns a batch's rows as evenly as can be in as many parts as run at a time; none is empty."""
        return [part for part in (rows[worker :: self.workers] for worker in range(self.workers)) if part]


def even_layouts(cores: int) -> list[Layout]:
    """Returns the layouts that leave no core idle and share none, the one with fewest workers first."""
    return [Layout(workers, cores // workers) for workers in range(1, cores + 1) if cores % workers == 0]


def fastest_layout(
    measured: Sequence[MeasuredLayout], runtime: str, cores: int, cpu_flags: Sequence[str]
) -> Layout | None:
    """Returns the layout that made most tokens a second.

    Args:
        measured: of one artifact.
        runtime: that opens it.
        cores: of this machine; other numbers of them do not count.
        cpu_flags: of this machine; measurements of CPUs with others do not count.

    Returns:
        None where nothing was measured on a machine like this.
    """
    alike = [each for each in _alike(measured, cores, cpu_flags) if each.runtime == runtime]
    if not alike:
        return None
    best = max(alike, key=lambda each: each.tokens_per_second)
    return Layout(best.workers, best.threads)


def fastest_in_its_layout(
    measured: Sequence[MeasuredLayout], possible: Sequence[str], cores: int, cpu_flags: Sequence[str]
) -> str | None:
    """Returns the runtime that made most tokens a second, each in its own best layout.

    Args:
        measured: of one artifact.
        possible: runtimes that can open it.
        cores: of this machine.
        cpu_flags: of this machine.

    Returns:
        None where no two of them were measured with the same batches and beams on a machine like this.
    """
    settings: dict[tuple[int, int], list[MeasuredLayout]] = {}
    for each in _alike(measured, cores, cpu_flags):
        if each.runtime in possible:
            settings.setdefault((each.batch, each.num_beams), []).append(each)
    comparable = [key for key, group in settings.items() if len({each.runtime for each in group}) > 1]
    if not comparable:
        return None
    return max(settings[max(comparable)], key=lambda each: each.tokens_per_second).runtime


def _alike(measured: Sequence[MeasuredLayout], cores: int, cpu_flags: Sequence[str]) -> list[MeasuredLayout]:
    return [each for each in measured if each.cores == cores and are_alike(each.cpu_flags, cpu_flags)]
