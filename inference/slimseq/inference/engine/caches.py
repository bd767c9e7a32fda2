"""Caches of one shape in memory that stays: what grows or shrinks moves within it.

Memory that is new costs more than what is copied to it: the system clears each page at its first use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# How much more memory is taken than is asked for, so that not every growth takes new.
SPARE = 1.5


@dataclass
class Caches:
    """Caches of one shape.

    Args:
        shape: of one of them; dimensions that are no integers are known only at run time.
        axis: of their positions, None where they have none.
        names: one for each cache.
        array: all of them, `(names, room for inputs, ...)`; None while there is nothing.
    """

    shape: Sequence[int | str]
    axis: int | None
    names: list[str] = field(default_factory=list)
    array: Array | None = None
    # Memory for one cache more than there are, `(names + 1, elements)`, so that each moves to where none is; and
    # where the first one is.
    _slots: Array | None = None
    _first: int = 0

    def clear(self) -> None:
        """Gives all memory back."""
        self.array = self._slots = None

    def resize(self, places: int, length: int, kept: int, dtype: "np.dtype[Any]") -> None:
        """Makes room for so many inputs with so many positions, and keeps what fits of the first ones."""
        sized = [places, *self.shape[1:]]
        if self.axis is not None:
            sized[self.axis] = length
        shape = [int(dimension) for dimension in sized]
        elements, count, before = prod(shape), len(self.names), self.array
        if self._slots is None or self._slots.shape[1] < elements:
            self._slots = np.zeros((count + 1, int(SPARE * elements)), dtype=dtype)
        self._first = 1 - self._first
        whole = self._slots[self._first : self._first + count, :elements].reshape(count, *shape)
        if before is not None and kept:
            # The one beside the slot that is free goes first.
            for cache in reversed(range(count)) if self._first else range(count):
                self._move(before[cache, :kept], whole[cache, :kept])
        self.array = whole

    def _move(self, before: Array, after: Array) -> None:
        """Copies what fits, and clears what no cache was copied to."""
        copied, rest = [slice(None)] * after.ndim, [slice(None)] * after.ndim
        if self.axis is not None:
            length = min(before.shape[self.axis], after.shape[self.axis])
            copied[self.axis], rest[self.axis] = slice(length), slice(length, None)
            after[tuple(rest)] = 0
        after[tuple(copied)] = before[tuple(copied)]

    def write(self, place: int, source: Mapping[str, Array]) -> None:
        """Writes the caches of a chunk of inputs, by name, from a place on."""
        assert self.array is not None
        for cache, name in zip(self.array, self.names, strict=True):
            part = source[name]
            read = [slice(None)] * part.ndim
            written = [slice(place, place + len(part)), *read[1:]]
            if self.axis is not None:
                read[self.axis] = written[self.axis] = slice(0, min(part.shape[self.axis], cache.shape[self.axis]))
            cache[tuple(written)] = part[tuple(read)]

    def keep(self, moved: Sequence[tuple[int, int]]) -> None:
        """Makes places what others are, pair by pair."""
        if self.array is None:
            return
        for place, source in moved:
            self.array[:, place] = self.array[:, source]

    def views(self, inputs: int) -> dict[str, Array]:
        """Returns the first inputs' caches, contiguous, by name."""
        if self.array is None:
            return {}
        return {name: cache[:inputs] for name, cache in zip(self.names, self.array, strict=True)}
