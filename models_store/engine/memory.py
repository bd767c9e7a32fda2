"""The caches of the rows in flight, in memory that the decoder's graph reads and writes in place.

Rows stand one behind the other without gaps: when some leave, the last ones take their places, so that a step touches
what is alive and nothing else. Self-attention caches grow by `BLOCK` positions, whatever each row has written of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.decoding.scores import Ids
from models_store.decoding.search import Moves
from models_store.graphs.names import MASKED, SOURCE, past

Array = NDArray[Any]
# Positions by which self-attention caches grow: fewer mean more copies, more mean more masked positions to attend to.
BLOCK = 16
# By how much the places of inputs grow when there are too few, so that not every one that joins moves all the others.
GROWTH = 1.5
# How much longer than the longest source there is the memory of sources may be.
LOOSE = 1.5
# How many times the positions that any row has written the memory of them may be.
ROOMY = 2


class Memory:
    """Caches of the inputs that one search is at.

    Args:
        shapes: of the decoder graph's inputs, by name; dimensions that are no integers are known only at run time.
        layers: how many layers the decoder has.
        num_beams: rows an input.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int | str]], layers: int, num_beams: int) -> None:
        self._num_beams = num_beams
        self._own = {name: shapes[name] for layer in range(layers) for name in past(layer, "decoder")}
        # Keys and values of sources, and their scales where they are rounded.
        prefixes = tuple(name for layer in range(layers) for name in past(layer, "encoder"))
        self._cross = {name: shape for name, shape in shapes.items() if name.startswith(prefixes)}
        self.clear()

    def clear(self) -> None:
        """Gives all memory back."""
        self._lengths: list[int] = []
        self._caches: dict[str, Array] = {}
        # Inputs, source positions and own positions that there is room for.
        self._places = self._longest = self._capacity = 0

    @property
    def inputs(self) -> int:
        """How many inputs are in flight."""
        return len(self._lengths)

    def join(self, lengths: Sequence[int], sources: Sequence[Mapping[str, Array]]) -> None:
        """Adds inputs behind those there are.

        Args:
            lengths: of their sources, in tokens.
            sources: keys and values by the decoder graph's names, of one or several chunks of inputs, in order.
        """
        first = self.inputs
        self._lengths += lengths
        self._make_room(first, {name: sources[0][name].dtype for name in self._cross})
        for name, shape in self._cross.items():
            axis = shape.index(SOURCE) if SOURCE in shape else None
            start = first
            for part in (chunk[name] for chunk in sources):
                read = [slice(None)] * part.ndim
                written = [slice(start, start + len(part)), *read[1:]]
                if axis is not None:
                    read[axis] = written[axis] = slice(0, min(part.shape[axis], self._longest))
                self._caches[name][tuple(written)] = part[tuple(read)]
                start += len(part)

    def _make_room(self, kept: int, kinds: Mapping[str, "np.dtype[Any]"]) -> None:
        """Moves the caches of the first inputs to where there is room for all, unless they are there already.

        What an input that has left wrote into the rest of a place is masked, as padding is.

        Args:
            kept: how many have caches.
            kinds: types of keys and values of sources, by name.
        """
        longest = max(self._lengths)
        is_fitting = longest <= self._longest <= LOOSE * longest
        if is_fitting and self.inputs <= self._places:
            return
        if self.inputs > self._places:
            self._places = max(self.inputs, int(GROWTH * self._places))
        self._longest, self._capacity = longest, max(self._capacity, BLOCK)
        for name, shape in (self._cross | self._own).items():
            old = self._caches.get(name)
            is_own = name in self._own
            axis = 2 if is_own else shape.index(SOURCE) if SOURCE in shape else None
            places = self._places * (self._num_beams if is_own else 1)
            length = self._capacity if is_own else longest
            whole = np.zeros(_sized(shape, places, axis, length), dtype=kinds.get(name, np.float32))
            if old is not None and kept:
                moved = [slice(0, kept * (self._num_beams if is_own else 1)), *[slice(None)] * (whole.ndim - 1)]
                if axis is not None:
                    moved[axis] = slice(0, min(old.shape[axis], whole.shape[axis]))
                whole[tuple(moved)] = old[tuple(moved)]
            self._caches[name] = whole

    def hold(self, positions: int) -> bool:
        """Makes room for so many positions in self-attention caches; returns whether memory has moved.

        Where there is far more room than that, since rows that were older have left, it is given up: a step attends to
        all of it.
        """
        wanted = -(-positions // BLOCK) * BLOCK
        if wanted <= self._capacity <= ROOMY * wanted:
            return False
        rows, kept = self.inputs * self._num_beams, min(wanted, self._capacity)
        for name in self._own:
            cache = self._caches[name]
            whole = np.zeros((*cache.shape[:2], wanted, cache.shape[3]), dtype=cache.dtype)
            whole[:rows, :, :kept] = cache[:rows, :, :kept]
            self._caches[name] = whole
        self._capacity = wanted
        return True

    def keep(self, order: Ids) -> None:
        """Makes input `i` what input `order[i]` was, in place; a place takes its own or a later input alone."""
        for name, cache in self._caches.items():
            beams = self._num_beams if name in self._own else 1
            for place, source in enumerate(order):
                if place != source:
                    cache[place * beams : (place + 1) * beams] = cache[source * beams : (source + 1) * beams]
        self._lengths = [self._lengths[source] for source in order]
        if not self._lengths:
            self.clear()

    def move(self, moves: Moves, written: Ids) -> None:
        """Copies to rows what those that they go on with have and they have not.

        Args:
            moves: who goes on with what.
            written: how many positions each row has written, `(rows,)`.
        """
        counts = written[moves.rows] - moves.parted
        rows, sources = moves.rows.repeat(counts), moves.sources.repeat(counts)
        # Each row's positions from where it parts, one row's behind the other's.
        positions = np.arange(len(rows)) - (counts.cumsum() - counts - moves.parted).repeat(counts)
        for name in self._own:
            cache = self._caches[name]
            cache[rows, :, positions] = cache[sources, :, positions]

    def views(self) -> dict[str, Array]:
        """Returns the caches of the inputs in flight, by the decoder graph's names, contiguous."""
        rows = self.inputs * self._num_beams
        return {name: cache[: rows if name in self._own else self.inputs] for name, cache in self._caches.items()}

    def source_scores(self) -> NDArray[np.float32]:
        """Returns what masks each source's padding, `(inputs, 1, 1, length)`."""
        name, shape = next((name, shape) for name, shape in self._cross.items() if SOURCE in shape)
        longest = self._caches[name].shape[shape.index(SOURCE)]
        is_source = np.arange(longest) < np.array(self._lengths)[:, None]
        return np.where(is_source, np.float32(0.0), np.float32(MASKED))[:, None, None, :]


def _sized(shape: Sequence[int | str], rows: int, axis: int | None, length: int) -> tuple[int, ...]:
    sized = [rows, *shape[1:]]
    if axis is not None:
        sized[axis] = length
    return tuple(int(dimension) for dimension in sized)
