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
    """Sleeps as long as its kernels would run, and adds a line to a file: when it fell asleep, and when it woke."""

    name = RUNTIME

    def __init__(self, step_seconds: float, sleeps: Path) -> None:
        self._step_seconds = step_seconds
        self._sleeps = sleeps

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        asleep = time.time()
        time.sleep(self._step_seconds * max(map(len, rows), default=0))
        with self._sleeps.open("a") as file:
            file.write(f"{asleep} {time.time()}\n")
        return [GeneratedSequence(list(row), "eos") for row in rows]

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Iterable[Sequence[float]]:
        return [[0.0] * len(output) for output in outputs]

    def close(self) -> None:
        """Nothing is open."""


def open_runtime(
    folder: Path, *, threads: int = 0, workers: int = 1, step_seconds: float, sleeps: Path
) -> SleepingRuntime:
    """Opens an artifact as a `RuntimeOpener` does."""
    return SleepingRuntime(step_seconds, sleeps)


def seconds_asleep(folder: Path, start: float, end: float) -> float:
    """Returns how long all engines that leave files in a folder slept between two times, in seconds."""
    lines = [line.split() for path in folder.iterdir() for line in path.read_text().splitlines()]
    return sum(max(0.0, min(end, float(woke)) - max(start, float(asleep))) for asleep, woke in lines)


@dataclass(frozen=True)
class SleepingKind(RuntimeKind):
    """A runtime whose steps take a fixed time, in seconds. It notes its sleeps in a file."""

    step_seconds: float = 0.0
    sleeps: Path = Path()

    def opener(self) -> RuntimeOpener:
        return partial(open_runtime, step_seconds=self.step_seconds, sleeps=self.sleeps)


@dataclass(frozen=True)
class SleepingSetup(EngineSetup):
    """Opens an artifact with kernels that sleep.

    Args:
        step_seconds: time of a step.
        sleeps: folder in which each engine of a cluster has a file, which is empty until it sleeps.
        engines: number of engines that wait for each other, so that all begin at once.
    """

    step_seconds: float = 0.0
    sleeps: Path = Path()
    engines: int = 1

    def open(self) -> RowProcessor:
        # A job opens the artifact once to check it, before Ray starts.
        is_on_ray = ray.is_initialized()
        own = self.sleeps / (ray.get_runtime_context().get_actor_id() if is_on_ray else "check")
        kind = RUNTIMES[RUNTIME]
        RUNTIMES[RUNTIME] = SleepingKind(**vars(kind) | {"step_seconds": self.step_seconds, "sleeps": own})
        processor = super().open()
        if is_on_ray:
            own.touch()
            while len(list(self.sleeps.iterdir())) < self.engines:
                time.sleep(POLL_SECONDS)
        return processor
