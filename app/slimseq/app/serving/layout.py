"""How the service shares out a machine's cores among the generations of a variant."""

from slimseq.evaluation.host import available_cores, cpu_flags
from slimseq.evaluation.layouts import Layout, fastest_layout
from slimseq.models_store.manifest import Manifest

# More generations at a time each wait longer for memory; more threads for one make it answer sooner.
MOST_WORKERS = 4


class LayoutChooser:
    """Chooses for one process: what its settings say, else what was measured to be fastest, else a rule."""

    def __init__(self, workers: int = 0, threads: int = 0) -> None:
        """Chooses nothing yet.

        Args:
            workers: generations of a variant at a time; 0 leaves them to what was measured.
            threads: of each; 0 leaves them to what was measured.
        """
        self._workers = workers
        self._threads = threads
        self._cores = available_cores()
        self._flags = cpu_flags()

    def choose(self, manifest: Manifest, runtime: str) -> Layout:
        """Returns a variant's layout on a runtime."""
        if not self._workers and not self._threads:
            measured = fastest_layout(manifest.layouts, runtime, self._cores, self._flags)
            if measured is not None:
                return measured
        return layout_for(self._cores, self._workers, self._threads)


def layout_for(cores: int, workers: int = 0, threads: int = 0) -> Layout:
    """Returns a layout for a number of cores, where what is 0 follows from them."""
    workers = workers or min(cores, MOST_WORKERS)
    return Layout(workers, threads or max(cores // workers, 1))
