"""An engine whose kernels sleep, so that many of them fit a machine of a few cores.

A batch takes a fixed time for each token of its longest row, and no CPU. All else of a row is real: sentences, tokens,
protected spans, warnings and writing. The outputs are the inputs.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray

from slimseq.evaluation.bulk.row_processor import RowProcessor
from slimseq.evaluation.bulk.workers import EngineSetup
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks, RuntimeOpener
from slimseq.inference.runtimes.registry import RUNTIMES, RuntimeKind
from slimseq.models_store.generation import GenerationOptions

RUNTIME = "onnxruntime"
# Time between two looks at whether the other engines are open, in seconds.
POLL_SECONDS = 0.1


class SleepingRuntime:
    name = RUNTIME

    def __init__(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        time.sleep(self._step_seconds * max(map(len, rows), default=0))
        return [GeneratedSequence(list(row), "eos") for row in rows]

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Iterable[Sequence[float]]:
        return [[0.0] * len(output) for output in outputs]

    def close(self) -> None:
        """Nothing is open."""


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1, step_seconds: float) -> SleepingRuntime:
    """Opens an artifact as a `RuntimeOpener` does."""
    return SleepingRuntime(step_seconds)


@dataclass(frozen=True)
class SleepingKind(RuntimeKind):
    """A runtime whose steps take a fixed time, in seconds."""

    step_seconds: float = 0.0

    def opener(self) -> RuntimeOpener:
        return partial(open_runtime, step_seconds=self.step_seconds)


@dataclass(frozen=True)
class SleepingSetup(EngineSetup):
    """Opens an artifact with kernels that sleep.

    Args:
        step_seconds: time of a step.
        opened: folder in which each engine of a cluster leaves a file when it is open.
        engines: number of engines that wait for each other, so that all begin at once.
    """

    step_seconds: float = 0.0
    opened: Path = Path()
    engines: int = 1

    def open(self) -> RowProcessor:
        kind = RUNTIMES[RUNTIME]
        RUNTIMES[RUNTIME] = SleepingKind(**vars(kind) | {"step_seconds": self.step_seconds})
        processor = super().open()
        if ray.is_initialized():
            (self.opened / ray.get_runtime_context().get_actor_id()).touch()
            while len(list(self.opened.iterdir())) < self.engines:
                time.sleep(POLL_SECONDS)
        return processor
