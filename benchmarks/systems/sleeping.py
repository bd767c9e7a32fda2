"""An engine whose kernels sleep, so that many of them fit a machine of a few cores.

A batch takes a fixed time for each step of its longest row, and no CPU. All else of a row is real: sentences, tokens,
protected spans, warnings and writing. The outputs are the inputs.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ray

from slimseq.evaluation.bulk.row_processor import RowProcessor
from slimseq.evaluation.bulk.workers import EngineSetup
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.inference.runtimes.registry import RUNTIMES
from slimseq.models_store.generation import GenerationOptions

RUNTIME = "onnxruntime"
STEP_SECONDS = 0.1
# Time between two looks at whether the other engines are open, in seconds.
POLL_SECONDS = 0.1


class SleepingRuntime:
    name = RUNTIME

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        time.sleep(STEP_SECONDS * max(map(len, rows), default=0))
        return [GeneratedSequence(list(row), "eos") for row in rows]

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Iterable[Sequence[float]]:
        return [[0.0] * len(output) for output in outputs]

    def close(self) -> None:
        """Nothing is open."""


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1) -> SleepingRuntime:
    """Opens an artifact as a `RuntimeOpener` does."""
    return SleepingRuntime()


@dataclass(frozen=True)
class SleepingSetup(EngineSetup):
    """Opens an artifact with kernels that sleep.

    Args:
        opened: folder in which each engine of a cluster leaves a file when it is open.
        engines: number of engines that wait for each other, so that all begin at once.
    """

    opened: Path = Path()
    engines: int = 1

    def open(self) -> RowProcessor:
        RUNTIMES[RUNTIME] = replace(RUNTIMES[RUNTIME], module=__name__)
        processor = super().open()
        if ray.is_initialized():
            (self.opened / ray.get_runtime_context().get_actor_id()).touch()
            while len(list(self.opened.iterdir())) < self.engines:
                time.sleep(POLL_SECONDS)
        return processor
