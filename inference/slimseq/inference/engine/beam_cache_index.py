"""Tracks which slots of the self-attention cache each hypothesis attends to.

The hypotheses of one input share one cache: a common prefix is computed and stored once. A new token goes to the first
slot that no live hypothesis uses. So a beam reorder copies no keys or values, and slots are not in token order. The
decoder graph therefore gets, for each slot, a mask (`bias`) and how many tokens ago it was written (`distances`).
`slimseq.inference.engine.memory` holds the caches themselves.

With a single beam, the tokens of an input are in its first slots, in order: their number says which slots are used.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.search import Ids
from slimseq.inference.graphs.tensor_names import MASKED


class BeamCacheIndex:
    """The slots of several inputs, each with the same number of hypotheses."""

    def __init__(self, num_beams: int) -> None:
        self._num_beams = num_beams
        self._beams = np.arange(num_beams)
        # The indices of all inputs that there is room for, `(max inputs, 1)`.
        self._input_column = np.zeros((0, 1), dtype=np.int64)
        self._inputs = 0
        # Whether a live hypothesis uses each slot, `(inputs, capacity)`. None means that it must be computed again.
        self._is_used: NDArray[np.bool_] | None = None
        # 0 for slots that a hypothesis attends to, else `MASKED`: `(inputs, num_beams, capacity)`.
        self._bias = np.empty((0, self._num_beams, 0), dtype=np.float32)
        self._distances = np.empty((0, 0), dtype=np.int64)
        # With a single beam, how many tokens each input has, `(inputs,)`.
        self._lengths = np.zeros(0, dtype=np.int64)

    @property
    def capacity(self) -> int:
        return self._bias.shape[-1]

    def bias(self, *, one_row_groups: bool) -> NDArray[np.float32]:
        """Returns the additive mask of the slots, `(inputs, 1, groups, rows a group, capacity)`.

        Either each hypothesis is a group of one row, or all hypotheses of an input are one group.
        """
        groups, rows = (self._num_beams, 1) if one_row_groups else (1, self._num_beams)
        return self._bias[: self._inputs].reshape(self._inputs, 1, groups, rows, self.capacity)

    @property
    def distances(self) -> Ids:
        """How many tokens before the newest token the token of each slot is, `(inputs, capacity)`."""
        return self._distances[: self._inputs]

    def continue_to(self, positions: Ids) -> None:
        """Makes each input use the slots up to a position, `(inputs,)`, that one included. There must be one beam."""
        attend_to_positions(positions[:, None], self._bias[: self._inputs], self.distances[:, None])
        self._lengths = positions + 1

    def resize(self, max_inputs: int, capacity: int) -> None:
        """Allocates `capacity` slots for each of `max_inputs` inputs. Current inputs keep their first slots."""
        bias = np.full((max_inputs, self._num_beams, capacity), MASKED, dtype=np.float32)
        distances = np.zeros((max_inputs, capacity), dtype=np.int64)
        inputs, slots = slice(self._inputs), slice(min(capacity, self.capacity))
        bias[inputs, ..., slots] = self._bias[inputs, ..., slots]
        distances[inputs, slots] = self._distances[inputs, slots]
        self._bias, self._distances = bias, distances
        self._input_column = np.arange(max_inputs)[:, None]
        self._is_used = None

    def join(self, inputs: int) -> None:
        """Appends inputs that attend to nothing yet. `resize` has allocated their slots."""
        self._bias[self._inputs : self._inputs + inputs] = MASKED
        self._inputs += inputs
        self._lengths = np.append(self._lengths, np.zeros(inputs, dtype=np.int64))
        self._is_used = None

    def keep(self, moves: Sequence[tuple[int, int]], inputs: int) -> None:
        """Copies input `source` over input `target` for each pair `(target, source)`, then keeps the first inputs."""
        for target, source in moves:
            self._bias[target] = self._bias[source]
            self._distances[target] = self._distances[source]
            self._lengths[target] = self._lengths[source]
        self._inputs = inputs
        self._lengths = self._lengths[:inputs]
        self._is_used = None

    def reorder(self, origins: Ids) -> None:
        """Makes each hypothesis a continuation of hypothesis `origins[input, beam]` of the same input."""
        bias = self._bias[: self._inputs]
        rows = origins + self._input_column[: self._inputs] * self._num_beams
        bias[:] = bias.reshape(-1, self.capacity).take(rows, axis=0)
        self._is_used = None

    def needed_slots(self) -> int:
        """Returns how many slots the inputs need for the next step."""
        if self._num_beams == 1:
            return self.end_of_used() + 1
        most_used = int(self._used().sum(axis=1).max(initial=0))
        return most_used + self._num_beams

    def end_of_used(self) -> int:
        """Index after the last slot that a live hypothesis uses."""
        if self._num_beams == 1:
            return int(self._lengths.max(initial=0))
        used_slots = np.nonzero(self._used().any(axis=0))[0]
        return int(used_slots[-1]) + 1 if len(used_slots) else 0

    def allocate(self) -> Ids:
        """Returns the slot for the next token of each hypothesis, `(inputs, num_beams)`, and unmasks it."""
        input_column, capacity = self._input_column[: self._inputs], self.capacity
        slots: Ids
        if self._num_beams == 1:
            slots = self._lengths[:, None]
            self._lengths = self._lengths + 1
        else:
            is_used = self._used()
            is_free = ~is_used
            # The first free slots of each input, one for each beam.
            is_taken = is_free & (is_free.cumsum(axis=1) <= self._num_beams)
            slots = is_taken.nonzero()[1].reshape(self._inputs, self._num_beams)
            is_used |= is_taken
        self._bias.put((input_column * self._num_beams + self._beams) * capacity + slots, 0)
        distances = self.distances
        distances += 1
        distances.put(input_column * capacity + slots, 0)
        return slots

    def _used(self) -> NDArray[np.bool_]:
        if self._is_used is None:
            self._is_used = self._bias[: self._inputs].max(axis=1) == 0
        return self._is_used


def attend_to_positions(positions: Ids, bias: NDArray[np.float32], distances: Ids) -> None:
    """Writes the mask and the distances of rows that attend to all slots up to their own position.

    The slot of a token has the number of the token's position. Positions are `(inputs, rows)`, bias and distances
    `(inputs, rows, capacity)`.
    """
    np.subtract(positions[:, :, None], np.arange(bias.shape[-1]), out=distances)
    bias[:] = np.where(distances < 0, np.float32(MASKED), np.float32(0))
    np.maximum(distances, 0, out=distances)
