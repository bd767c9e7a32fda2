"""Which columns of its input's self-attention cache each hypothesis attends to.

The hypotheses of an input are a tree: what two of them have in common was computed once and stands once. A token's key
and value go to the first column that no living hypothesis attends to, so that nothing moves when beams go on with each
other's tokens, and what only the dead attended to is written over. Columns stand in no order: which of them a
hypothesis attends to, and how long ago they were written, is told to the decoder's graph.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids
from slimseq.inference.graphs.names import MASKED


class BeamCacheIndex:
    """The columns of several inputs, each with as many hypotheses.

    Args:
        num_beams: hypotheses an input.
    """

    def __init__(self, num_beams: int) -> None:
        self._num_beams = num_beams
        self._beams = np.arange(num_beams)
        self.clear()

    def clear(self) -> None:
        """Gives all memory back."""
        self._inputs = 0
        # Which columns some living hypothesis attends to, `(inputs, capacity)`; None where it has to be worked out.
        self._alive: NDArray[np.bool_] | None = None
        # What masks them, `(inputs, num_beams, capacity)`.
        self._scores = np.empty((0, self._num_beams, 0), dtype=np.float32)
        self._distances = np.empty((0, 0), dtype=np.int64)

    @property
    def capacity(self) -> int:
        """How many columns there are."""
        return self._scores.shape[-1]

    def scores(self, *, is_alone: bool) -> NDArray[np.float32]:
        """Returns what masks the columns that a hypothesis does not attend to, `(inputs, 1, groups, rows, capacity)`.

        Args:
            is_alone: whether each hypothesis is a group of one; else those of an input are one group.
        """
        groups, rows = (self._num_beams, 1) if is_alone else (1, self._num_beams)
        return self._scores[: self._inputs].reshape(self._inputs, 1, groups, rows, self.capacity)

    @property
    def distances(self) -> Ids:
        """How many steps ago each column was written, `(inputs, capacity)`."""
        return self._distances[: self._inputs]

    def resize(self, places: int, capacity: int) -> None:
        """Makes room for so many inputs with so many columns; those there are keep their first ones."""
        scores = np.full((places, self._num_beams, capacity), MASKED, dtype=np.float32)
        distances = np.zeros((places, capacity), dtype=np.int64)
        inputs, columns = slice(self._inputs), slice(min(capacity, self.capacity))
        scores[inputs, ..., columns] = self._scores[inputs, ..., columns]
        distances[inputs, columns] = self._distances[inputs, columns]
        self._scores, self._distances = scores, distances
        self._alive = None

    def join(self, inputs: int) -> None:
        """Adds inputs that attend to nothing yet, for which there is room."""
        self._scores[self._inputs : self._inputs + inputs] = MASKED
        self._inputs += inputs
        self._alive = None

    def keep(self, moved: Sequence[tuple[int, int]], inputs: int) -> None:
        """Makes places what others are, pair by pair; so many inputs are left."""
        for place, source in moved:
            self._scores[place] = self._scores[source]
            self._distances[place] = self._distances[source]
        self._inputs = inputs
        self._alive = None

    def move(self, origins: Ids) -> None:
        """Lets each hypothesis go on with what one of its input had, `(inputs, num_beams)`."""
        scores = self._scores[: self._inputs]
        scores[:] = scores[np.arange(self._inputs)[:, None], origins]
        self._alive = None

    def wanted(self) -> int:
        """How many columns the next step wants."""
        return int(self._is_alive().sum(axis=1).max(initial=0)) + self._num_beams

    def last(self) -> int:
        """Behind how many columns no living hypothesis attends to any."""
        alive = np.nonzero(self._is_alive().any(axis=0))[0]
        return int(alive[-1]) + 1 if len(alive) else 0

    def take(self) -> Ids:
        """Returns where each hypothesis writes its next token, `(inputs, num_beams)`, and lets it attend to that."""
        is_alive = self._is_alive()
        is_free = ~is_alive
        if self._num_beams == 1:
            columns: Ids = is_free.argmax(axis=1)[:, None]
        else:
            first = is_free & (is_free.cumsum(axis=1) <= self._num_beams)
            columns = first.nonzero()[1].reshape(self._inputs, self._num_beams)
        every = np.arange(self._inputs)[:, None]
        self._scores[every, self._beams, columns] = 0.0
        distances = self.distances
        distances += 1
        distances[every, columns] = 0
        is_alive[every, columns] = True
        return columns

    def _is_alive(self) -> NDArray[np.bool_]:
        if self._alive is None:
            scores = self._scores[: self._inputs]
            self._alive = scores[:, 0] == 0 if self._num_beams == 1 else scores.max(axis=1) == 0
        return self._alive
