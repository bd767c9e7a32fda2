"""Replicas on Ray Serve whose engine is simulated: a step takes a fixed time, whatever is in the batch, and no CPU.

So two replicas on one core do what they would on two machines. What is left of the cost is Ray's and the service's.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ray.serve import Application

from slimseq.app.cluster.replica import Replica, ReplicaOptions, bound
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks, Progress
from slimseq.inference.runtimes.registry import RUNTIMES
from slimseq.models_store.generation import GenerationOptions

RUNTIME = "onnxruntime"
STEP_SECONDS = 0.05


class SimulatedEngine:
    """Writes the ids of each input again, one a step."""

    def __init__(self) -> None:
        self._inputs: dict[int, list[int]] = {}
        self._rows: dict[int, list[int]] = {}
        self._keys = 0

    def __len__(self) -> int:
        """Unfinished inputs."""
        return len(self._inputs)

    @property
    def waiting(self) -> int:
        """Inputs that have not joined."""
        return len(self._inputs) - len(self._rows)

    def add(self, ids: Sequence[int], options: GenerationOptions, *, is_streamed: bool = False) -> int:
        """Adds an input."""
        self._keys += 1
        self._inputs[self._keys] = list(ids)[: options.max_new_tokens]
        return self._keys

    def admit(self, tokens: int = 0) -> None:
        """Lets all inputs join."""
        for key in self._inputs:
            self._rows.setdefault(key, [])

    def step(self) -> dict[int, Progress]:
        """Takes the time of a step."""
        time.sleep(STEP_SECONDS)
        progress = {}
        for key, row in list(self._rows.items()):
            row.append(self._inputs[key][len(row)])
            ended = GeneratedSequence(row, "eos") if len(row) == len(self._inputs[key]) else None
            progress[key] = Progress(row[-1:], ended)
            if ended:
                self.drop([key])
        return progress

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        """Removes inputs."""
        dropped = {key: GeneratedSequence(self._rows.get(key, []), "cancelled") for key in keys}
        for key in keys:
            self._inputs.pop(key, None)
            self._rows.pop(key, None)
        return dropped


class SimulatedRuntime:
    """Opens any artifact."""

    name = RUNTIME

    def engine(self) -> SimulatedEngine:
        """Returns an engine without inputs."""
        return SimulatedEngine()

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        """Generates a batch."""
        time.sleep(STEP_SECONDS * max(map(len, rows), default=0))
        return [GeneratedSequence(list(row), "eos") for row in rows]

    def close(self) -> None:
        """Does nothing."""


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1) -> SimulatedRuntime:
    """Opens an artifact as a `RuntimeOpener` does."""
    return SimulatedRuntime()


# In the processes of the replicas, which import this module for the class below.
RUNTIMES[RUNTIME] = replace(RUNTIMES[RUNTIME], module=__name__)


class SimulatedReplica(Replica):
    """A replica whose engine is simulated."""


def application(options: ReplicaOptions) -> Application:
    """Returns the application, which a Serve config names."""
    return bound(SimulatedReplica, options)
