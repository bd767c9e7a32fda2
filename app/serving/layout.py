"""How a machine's cores are shared out among the generations of a variant."""

from dataclasses import dataclass

# More generations at a time each wait longer for memory; more threads for one make it answer sooner.
MOST_WORKERS = 4


@dataclass(frozen=True)
class Layout:
    """So many generations at a time, each with so many threads; 0 leaves their number to the runtime."""

    workers: int = 1
    threads: int = 0


def layout_for(cores: int, workers: int = 0, threads: int = 0) -> Layout:
    """Returns a layout for a number of cores, where what is 0 follows from them."""
    workers = workers or min(cores, MOST_WORKERS)
    return Layout(workers, threads or max(cores // workers, 1))
