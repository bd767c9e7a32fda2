"""The caches of the rows in flight, in memory that the decoder's graph reads and writes in place.

Inputs stand one behind the other without gaps: when some leave, the last ones take their places, so that a step touches
what is alive and nothing else. Self-attention caches grow by `BLOCK` columns, whatever each input has written of them;
whose they are is told by `slimseq.inference.engine.beam_cache_index`. Those of one shape are one array, whatever layer
they are of: what moves in one of them moves in all.
"""

import platform
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids
from slimseq.inference.engine.beam_cache_index import BeamCacheIndex
from slimseq.inference.engine.caches import Array, Caches
from slimseq.inference.graphs.names import CROSS_ATTENTION_BIAS, DISTANCES, MASKED, SELF_ATTENTION_BIAS, SOURCE, past

# Columns by which self-attention caches grow: fewer mean more copies, more mean more masked columns to attend to. Those
# that a few inputs attend to for nothing take less time than growing does.
BLOCK = 16
COLUMNS_OF_FEW = 64
# By how much the places of inputs grow when there are too few, so that not every one that joins moves all the others.
GROWTH = 1.5
# How much longer than the longest source there is the memory of sources may be.
LOOSE = 1.5
# What the length of that memory is a multiple of where sources are int8: ONNX Runtime's products take columns by 16 and
# what is left over one at a time, for which those with 287 keys take one and a half times as long as with 288.
ALIGNED = 16
# Caches that groups of rows attend to have a dimension for groups. Where all of them together are larger than what a
# core has close by, products of a row alone are faster, and else those of all rows of an input; and so they are where
# ONNX Runtime has no product of a row and a transposed matrix that reads the matrix where it lies.
GROUPED_DIMENSIONS = 5
CACHED_BYTES = 2 * 2**20
HAS_ROW_PRODUCTS = platform.machine() in ("x86_64", "AMD64")
# How many times the columns that any input wants there may be.
ROOMY = 1.2


class Memory:
    """Caches of the inputs that one search is at.

    Args:
        shapes: of the decoder graph's inputs, by name; dimensions that are no integers are known only at run time.
        layers: how many layers the decoder has.
        num_beams: hypotheses an input.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int | str]], layers: int, num_beams: int) -> None:
        own = [name for layer in range(layers) for name in past(layer, "decoder")]
        self._own = Caches(shapes[own[0]], axis=3, names=own)
        self._index = BeamCacheIndex(num_beams)
        self._has_groups = not isinstance(shapes[SELF_ATTENTION_BIAS][2], int)
        # Keys and values of sources, and their scales where they are rounded.
        self._cross: list[Caches] = []
        prefixes = tuple(name for layer in range(layers) for name in past(layer, "encoder"))
        for name, shape in shapes.items():
            if name.startswith(prefixes):
                self._kind_of(shape).names.append(name)
        self.clear()

    def _kind_of(self, shape: Sequence[int | str]) -> Caches:
        """Returns the caches of sources of a shape."""
        alike = [kind for kind in self._cross if list(kind.shape) == list(shape)]
        if not alike:
            axis = list(shape).index(SOURCE) if SOURCE in shape else None
            self._cross += (alike := [Caches(shape, axis)])
        return alike[0]

    def clear(self) -> None:
        """Gives all memory back."""
        self._lengths: list[int] = []
        for kind in (self._own, *self._cross):
            kind.clear()
        self._index.clear()
        # Inputs and source positions that there is room for.
        self._places = self._longest = 0

    @property
    def inputs(self) -> int:
        """How many inputs are in flight."""
        return len(self._lengths)

    def join(self, lengths: Sequence[int], cross_attention: Sequence[Mapping[str, Array]]) -> None:
        """Adds inputs behind those there are.

        Args:
            lengths: of their sources, in tokens.
            cross_attention: keys and values by the decoder graph's names, of one or several chunks of inputs, in order.
        """
        first = self.inputs
        self._lengths += lengths
        self._grow(first, cross_attention[0])
        self._index.join(len(lengths))
        for kind in self._cross:
            place = first
            for chunk in cross_attention:
                kind.write(place, chunk)
                place += len(chunk[kind.names[0]])

    def _grow(self, kept: int, source: Mapping[str, Array]) -> None:
        """Moves the caches of the first inputs to where there is room for all, unless they are there already.

        What an input that has left wrote into the rest of a place is masked, as padding is.

        Args:
            kept: how many have caches.
            source: some input's keys and values, whose types all have.
        """
        longest = max(self._lengths)
        if any(source[kind.names[0]].dtype == np.int8 for kind in self._cross):
            longest = -(-longest // ALIGNED) * ALIGNED
        is_fitting = longest <= self._longest <= LOOSE * longest
        is_roomy = self.inputs <= self._places
        if not is_roomy:
            self._places = max(self.inputs, int(GROWTH * self._places))
        if not is_roomy or not is_fitting:
            self._longest = longest
            for kind in self._cross:
                kind.resize(self._places, longest, kept, source[kind.names[0]].dtype)
        if not is_roomy or self._own.array is None:
            self._resize_own(max(self._index.capacity, BLOCK), kept)

    def _resize_own(self, capacity: int, kept: int) -> None:
        self._own.resize(self._places, capacity, kept, np.dtype(np.float32))
        self._index.resize(self._places, capacity)

    def hold(self) -> bool:
        """Makes room for a step's tokens in self-attention caches; returns whether memory has moved.

        Where there is far more room than that, since inputs that were older have left, it is given up: a step attends
        to all of it.
        """
        block = max(COLUMNS_OF_FEW // self.inputs, BLOCK)
        wanted = -(-self._index.wanted() // block) * block
        capacity = self._index.capacity
        if wanted <= capacity and (capacity <= ROOMY * wanted or self._index.last() > wanted):
            return False
        self._resize_own(wanted, self.inputs)
        return True

    def take(self) -> Ids:
        """Returns the column that each hypothesis writes its token to, `(inputs, num_beams)`: there is room for it."""
        return self._index.take()

    def keep(self, order: Ids) -> None:
        """Makes input `i` what input `order[i]` was, in place; a place takes its own or a later input alone."""
        cross_attention = order.tolist()
        moved = [(place, source) for place, source in enumerate(cross_attention) if place != source]
        for kind in (self._own, *self._cross):
            kind.keep(moved)
        self._index.keep(moved, len(cross_attention))
        self._lengths = [self._lengths[source] for source in cross_attention]
        if not self._lengths:
            self.clear()

    def move(self, origins: Ids) -> None:
        """Lets each hypothesis go on with what one of its input had, `(inputs, num_beams)`: nothing is copied."""
        self._index.move(origins)

    def views(self) -> dict[str, Array]:
        """Returns the caches of the inputs in flight and what masks them, by the decoder graph's names, contiguous."""
        caches = {name: view for kind in (self._own, *self._cross) for name, view in kind.views(self.inputs).items()}
        if not caches:
            return {}
        columns = self._index
        grouped = sum(cache.nbytes for cache in caches.values() if cache.ndim == GROUPED_DIMENSIONS)
        is_large = grouped > CACHED_BYTES
        scores = columns.scores(is_alone=self._has_groups and HAS_ROW_PRODUCTS and is_large)
        told: dict[str, Array] = {SELF_ATTENTION_BIAS: scores, DISTANCES: columns.distances}
        return caches | told | {CROSS_ATTENTION_BIAS: self._source_scores()}

    def _source_scores(self) -> NDArray[np.float32]:
        """Returns what masks each source's padding, `(inputs, 1, 1, length)`."""
        is_source = np.arange(self._longest) < np.array(self._lengths)[:, None]
        return np.where(is_source, np.float32(0.0), np.float32(MASKED))[:, None, None, :]
