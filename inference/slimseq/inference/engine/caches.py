"""Key-value caches of the same shape in one preallocated buffer, which resizes without a new allocation where possible.

A new allocation costs more than the copy into it: the operating system clears each page at its first use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# The buffer's size over the size that is needed now, so that small growth needs no new allocation.
OVERALLOCATION = 1.5


@dataclass
class Caches:
    """Caches of one shape, whose symbolic dimensions are known only at run time, with an axis of positions or none.

    `array` has all of them, `(names, max inputs, ...)`, once they have a size.
    """

    shape: Sequence[int | str]
    axis: int | None
    names: list[str] = field(default_factory=list)
    array: Array = field(init=False)
    # `(names + 1, elements)`: one cache more than there are, so that each can move into the free one. The caches begin
    # at `_first`, which is 0 or 1.
    _buffer: Array = field(default_factory=lambda: np.empty((0, 0)))
    _first: int = 0

    def resize(self, max_inputs: int, length: int, kept: int, dtype: "np.dtype[Any]") -> None:
        """Makes room for `max_inputs` inputs of `length` positions. The first `kept` inputs keep what fits."""
        sized = [max_inputs, *self.shape[1:]]
        if self.axis is not None:
            sized[self.axis] = length
        shape = [int(dimension) for dimension in sized]
        elements, count = prod(shape), len(self.names)
        if self._buffer.shape[1] < elements:
            self._buffer = np.zeros((count + 1, int(OVERALLOCATION * elements)), dtype=dtype)
        self._first = 1 - self._first
        whole = self._buffer[self._first : self._first + count, :elements].reshape(count, *shape)
        if kept:
            # The cache next to the free part of the buffer moves first.
            moves_up = self._first == 1
            order = reversed(range(count)) if moves_up else range(count)
            for cache in order:
                self._move(self.array[cache, :kept], whole[cache, :kept])
        self.array = whole

    def _move(self, before: Array, after: Array) -> None:
        """Copies what fits. The rest has old values, which are masked."""
        copied = [slice(None)] * after.ndim
        if self.axis is not None:
            copied[self.axis] = slice(min(before.shape[self.axis], after.shape[self.axis]))
        after[tuple(copied)] = before[tuple(copied)]

    def write(self, start: int, source: Mapping[str, Array]) -> None:
        """Writes the caches of a chunk of inputs, by name, from input `start` on."""
        for cache, name in zip(self.array, self.names, strict=True):
            part = source[name]
            read = [slice(None)] * part.ndim
            written = [slice(start, start + len(part)), *read[1:]]
            if self.axis is not None:
                read[self.axis] = written[self.axis] = slice(0, min(part.shape[self.axis], cache.shape[self.axis]))
            cache[tuple(written)] = part[tuple(read)]

    def keep(self, moves: Sequence[tuple[int, int]], end: int) -> None:
        """Copies input `source` over input `target` for each pair `(target, source)`, positions up to `end`."""
        used: list[slice] = [slice(None)] * self.array.ndim
        if self.axis is not None:
            used[self.axis + 1] = slice(end)
        for cache in self.array[tuple(used)]:
            for target, source in moves:
                cache[target] = cache[source]

    def views(self, inputs: int) -> dict[str, Array]:
        """Returns the caches of the first inputs, contiguous, by name."""
        return {name: cache[:inputs] for name, cache in zip(self.names, self.array, strict=True)}
