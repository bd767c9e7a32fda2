"""The key-value caches of the inputs in flight, which the decoder graph reads and updates in place.

Each `DecodeBatch` has one `Memory`. Its inputs are contiguous. When some leave, the last ones move into the gaps, so
that a step reads live inputs only.

- Self-attention caches grow by blocks of slots. `BeamCacheIndex` says which slots each hypothesis attends to. Recurrent
  decoders have one state a hypothesis in their place; a reorder of beams copies it.
- Cross-attention caches are as long as the longest input in flight, and a bias masks the padding of shorter ones.

Caches of the same shape, of all layers, are one array (`Caches`), whose buffer is kept when it grows or shrinks. A new
allocation would cost more than the copy into it: the operating system clears each page at its first use. Layers with
different numbers of heads have caches of different shapes.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.search import Ids
from slimseq.inference.engine.beam_cache_index import BeamCacheIndex
from slimseq.inference.graphs.tensor_names import (
    CROSS_ATTENTION_BIAS,
    DISTANCES,
    MASKED,
    SELF_ATTENTION_BIAS,
    SOURCE,
    DecoderInputs,
)

Array = NDArray[Any]

# Slots by which self-attention caches grow. Smaller blocks mean more copies. Larger blocks mean more masked slots,
# which a step reads too. A small batch grows by more slots, `SMALL_BATCH_SLOTS` divided by its inputs: for a small
# batch a copy costs more than masked slots do.
BLOCK_SLOTS = 16
SMALL_BATCH_SLOTS = 64
# Factor by which the number of inputs grows at a reallocation, so that most inputs join without one.
INPUT_GROWTH = 1.5
# Largest ratio of the allocated cross-attention length to the longest input in flight.
MAX_LENGTH_RATIO = 1.5
# The length of cross-attention caches is a multiple of this, so that a slightly longer input needs no reallocation.
LENGTH_ALIGNMENT = 4
# Int8 cross-attention caches have a length that is a multiple of this: ONNX Runtime's integer matmul takes 16 columns
# at a time and the rest singly; 287 keys take 1.5 times as long as 288.
INT8_ALIGNMENT = 16
# The number of dimensions of caches with a dimension for groups of rows, and of `DISTANCES` with dimensions for groups
# and for the rows of a group.
GROUPED_DIMENSIONS = 5
ROW_DISTANCES_DIMENSIONS = 4
# The axis of slots in self-attention caches, `(inputs, heads, 1, slots, width)`.
SLOT_AXIS = 3
# The axis of groups in `SELF_ATTENTION_BIAS`.
GROUP_AXIS = 2
# If caches with groups are larger than the second-level cache of a core, one matrix-vector product a row is faster than
# one matmul for all rows of an input. On platforms where ONNX Runtime has no matrix-vector kernel for a transposed
# matrix, the matmul is always faster. 2 MiB is the size of this cache in recent Xeons.
L2_CACHE_BYTES = 2 * 2**20
HAS_MATRIX_VECTOR_KERNEL = platform.machine() in ("x86_64", "AMD64")
# Largest ratio of allocated slots to needed ones. A reallocation costs as much as 16 masked slots in a dozen steps.
MAX_SLOT_RATIO = 1.4
# The buffer's size, as a multiple of the size that is needed now, so that small growth needs no new allocation.
OVERALLOCATION = 1.5


@dataclass
class Caches:
    """Caches of one shape, such as the cross-attention keys of all layers.

    Attributes:
        shape: the shape of one cache in the graph: inputs first, and names for dimensions that only a run knows.
        axis: the axis of positions in this shape, or None if it has none.
        names: the caches' names in the graph.
        array: all caches, `(names, max inputs, ...)`, from the first `resize` on.
    """

    shape: Sequence[int | str]
    axis: int | None
    names: list[str] = field(default_factory=list)
    array: Array = field(init=False)
    # `(names + 1, elements)`. The buffer has one place more than there are caches: at each resize, all caches move by
    # one place, up or down, so that no cache overwrites another one that has not moved yet. The caches begin at the
    # place `_first`, which is 0 or 1.
    _buffer: Array = field(default_factory=lambda: np.empty((0, 0)))
    _first: int = 0

    def resize(self, max_inputs: int, length: int, kept: int, dtype: "np.dtype[Any]") -> None:
        """Makes room for `max_inputs` inputs of `length` positions. The first `kept` inputs keep what fits."""
        dimensions = [max_inputs, *self.shape[1:]]
        if self.axis is not None:
            dimensions[self.axis] = length
        shape = [int(dimension) for dimension in dimensions]
        elements = prod(shape)
        count = len(self.names)
        if self._buffer.shape[1] < elements:
            self._buffer = np.zeros((count + 1, int(OVERALLOCATION * elements)), dtype=dtype)
        self._first = 1 - self._first
        resized = self._buffer[self._first : self._first + count, :elements].reshape(count, *shape)
        if kept:
            # The cache next to the free place of the buffer moves first.
            places = list(range(count))
            moves_up = self._first == 1
            if moves_up:
                places.reverse()
            for place in places:
                self._copy_fitting(self.array[place, :kept], resized[place, :kept])
        self.array = resized

    def _copy_fitting(self, source: Array, target: Array) -> None:
        """Copies the caches of as many inputs: the positions that fit. Other positions of the target are masked."""
        if self.axis is None:
            target[...] = source
            return
        end = min(source.shape[self.axis], target.shape[self.axis])
        _first_positions(target, self.axis, end)[...] = _first_positions(source, self.axis, end)

    def write(self, start: int, source: Mapping[str, Array]) -> None:
        """Writes the caches of a chunk of inputs, by name, from input `start` on."""
        for cache, name in zip(self.array, self.names, strict=True):
            chunk = source[name]
            self._copy_fitting(chunk, cache[start : start + len(chunk)])

    def keep(self, moves: Sequence[tuple[int, int]], end: int) -> None:
        """Copies input `source` over input `target` for each pair `(target, source)`, positions up to `end`."""
        used = self.array
        if self.axis is not None:
            # The first axis of `array` is the one of the names.
            used = _first_positions(self.array, self.axis + 1, end)
        for cache in used:
            for target, source in moves:
                cache[target] = cache[source]

    def views(self, inputs: int) -> dict[str, Array]:
        """Returns the caches of the first inputs, contiguous, by name."""
        return {name: cache[:inputs] for name, cache in zip(self.names, self.array, strict=True)}


def takes_positions(shapes: Mapping[str, Sequence[int | str]]) -> bool:
    """Whether one run of a decoder can take several consecutive tokens of an input, with the bits of usual steps.

    Each token is then a row and a group of its own. `shapes` are the shapes of the graph's inputs. Three kinds of
    graphs cannot do this: a recurrent decoder has one state an input, graphs for sentences have one group, and graphs
    of an older Slimseq have the same distances for all rows of an input.
    """
    is_recurrent = SELF_ATTENTION_BIAS not in shapes
    if is_recurrent or not _has_groups(shapes):
        return False
    return DISTANCES not in shapes or _has_row_distances(shapes)


def _has_groups(shapes: Mapping[str, Sequence[int | str]]) -> bool:
    """Whether a decoder with self-attention takes any number of groups: its dimension has a name, and no number."""
    return not isinstance(shapes[SELF_ATTENTION_BIAS][GROUP_AXIS], int)


def _has_row_distances(shapes: Mapping[str, Sequence[int | str]]) -> bool:
    """Whether each row of an input has distances of its own."""
    return DISTANCES in shapes and len(shapes[DISTANCES]) == ROW_DISTANCES_DIMENSIONS


class Memory:
    """The caches of one `DecodeBatch`, for a decoder graph with these inputs.

    `version` changes whenever arrays are allocated or resized. Until then, views of the same number of inputs stay
    valid.
    """

    def __init__(self, inputs: DecoderInputs, num_beams: int) -> None:
        shapes = inputs.shapes
        self._is_recurrent = inputs.is_recurrent
        # Self-attention keys and values, or the states of recurrent layers: one entry a shape.
        self._self_attention = _states(inputs, num_beams) if self._is_recurrent else _self_attention_caches(inputs)
        # Cross-attention keys and values and, where they are int8, their scales: one entry a shape.
        self._cross_attention = _cross_attention_caches(inputs)
        self._num_beams = num_beams
        self._index = BeamCacheIndex(num_beams)
        self.version = 0
        self._has_groups = not self._is_recurrent and _has_groups(shapes)
        self._has_row_distances = _has_row_distances(shapes)
        self.lengths: list[int] = []
        # Inputs and cross-attention positions for which arrays are allocated.
        self._max_inputs = 0
        self._max_length = 0
        # The additive mask of the inputs' padding, `(max inputs, 1, 1, max length)`.
        self._padding_bias = np.empty((0, 1, 1, 0), dtype=np.float32)

    @property
    def inputs(self) -> int:
        return len(self.lengths)

    def join(self, lengths: Sequence[int], cross_attention: Sequence[Mapping[str, Array]]) -> None:
        """Appends inputs.

        Args:
            lengths: of the inputs, in tokens.
            cross_attention: the keys and values of consecutive chunks of these inputs, by name.
        """
        first = self.inputs
        self.lengths += lengths
        first_unwritten = self._make_room(first, cross_attention[0])
        self._write_padding_bias(first_unwritten)
        self._index.join(len(lengths))
        if self._is_recurrent:
            for states in self._self_attention:
                states.array[:, first : self.inputs] = 0
        for caches in self._cross_attention:
            start = first
            for chunk in cross_attention:
                caches.write(start, chunk)
                start += len(chunk[caches.names[0]])

    def _make_room(self, kept: int, source: Mapping[str, Array]) -> int:
        """Makes room for all inputs. The first `kept` of them keep their values.

        `source` has keys and values of a new input, for their dtypes. Returns the index of the first input whose
        padding bias is not written.
        """
        is_int8 = any(source[caches.names[0]].dtype == np.int8 for caches in self._cross_attention)
        alignment = INT8_ALIGNMENT if is_int8 else LENGTH_ALIGNMENT
        length = _round_up(max(self.lengths), alignment)
        is_length_kept = length <= self._max_length <= MAX_LENGTH_RATIO * length
        is_count_kept = self.inputs <= self._max_inputs

        if not is_count_kept:
            self._max_inputs = max(self.inputs, int(INPUT_GROWTH * self._max_inputs))
        if not is_count_kept or not is_length_kept:
            self._max_length = length
            for caches in self._cross_attention:
                caches.resize(self._max_inputs, length, kept, source[caches.names[0]].dtype)
            self._padding_bias = np.empty((self._max_inputs, 1, 1, length), dtype=np.float32)
            self.version += 1
        if not is_count_kept:
            self._resize_self_attention(max(self._index.capacity, BLOCK_SLOTS), kept)
        return kept if is_count_kept and is_length_kept else 0

    def _resize_self_attention(self, capacity: int, kept: int) -> None:
        for caches in self._self_attention:
            caches.resize(self._max_inputs, capacity, kept, np.dtype(np.float32))
        self._index.resize(self._max_inputs, capacity)
        self.version += 1

    def ensure_capacity(self, drafted: int = 0) -> None:
        """Makes room for the next step in the self-attention caches, and for `drafted` more tokens of each input.

        It also shrinks caches that became much too large, as after the end of long outputs: a step reads all slots.
        """
        if self._is_recurrent:
            return
        block = max(SMALL_BATCH_SLOTS // self.inputs, BLOCK_SLOTS)
        needed = _round_up(self._index.needed_slots() + drafted, block)
        capacity = self._index.capacity
        is_much_too_large = capacity > MAX_SLOT_RATIO * needed and self._index.end_of_used() <= needed
        if needed > capacity or is_much_too_large:
            self._resize_self_attention(needed, self.inputs)

    def allocate_slots(self) -> Ids:
        """Returns the slot for the next token of each hypothesis, `(inputs, num_beams)`."""
        if self._is_recurrent:
            # The graph has no slots, and does not read them.
            return np.zeros((self.inputs, self._num_beams), np.int64)
        return self._index.allocate()

    def continue_to(self, positions: Ids) -> None:
        """Keeps the tokens of each input up to a position, `(inputs,)`, after a run of several tokens an input."""
        self._index.continue_to(positions)

    def keep(self, order: Ids) -> None:
        """Makes input `i` the former input `order[i]`, in place; `order[i] >= i`. Inputs not in `order` leave."""
        sources = order.tolist()
        moves = [(target, source) for target, source in enumerate(sources) if target != source]
        if moves:
            end = self._index.end_of_used()
            for caches in self._self_attention:
                caches.keep(moves, end)
            for caches in self._cross_attention:
                caches.keep(moves, max(self.lengths))
        self._index.keep(moves, len(sources))
        self.lengths = [self.lengths[source] for source in sources]
        for target, source in moves:
            self._padding_bias[target] = self._padding_bias[source]

    def reorder(self, origins: Ids) -> None:
        """Makes each hypothesis a continuation of `origins[input, beam]`, without copies of keys or values."""
        if self._is_recurrent:
            input_column = np.arange(self.inputs)[:, None]
            for caches in self._self_attention:
                states = caches.array
                states[:, : self.inputs] = states[:, input_column, origins]
        self._index.reorder(origins)

    def views(self) -> dict[str, Array]:
        """Returns the caches of the inputs in flight and their masks, by the decoder graph's names, contiguous."""
        views: dict[str, Array] = {}
        for caches in self._self_attention:
            views |= caches.views(self.inputs)
        if self._is_recurrent:
            views = {name: state.reshape(-1, state.shape[-1]) for name, state in views.items()}
        for caches in self._cross_attention:
            views |= caches.views(self.inputs)
        views[SELF_ATTENTION_BIAS] = self._index.bias(one_row_groups=self._needs_one_row_groups(views))
        distances = self._index.distances
        if self._has_row_distances:
            # All groups, and all rows of a group, have the same distances.
            distances = distances[:, None, None]
        views[DISTANCES] = distances
        views[CROSS_ATTENTION_BIAS] = self._padding_bias[: self.inputs]
        return views

    def _needs_one_row_groups(self, caches: Mapping[str, Array]) -> bool:
        """Whether a step is faster if each row is a group of its own (see `L2_CACHE_BYTES`)."""
        grouped_bytes = sum(cache.nbytes for cache in caches.values() if cache.ndim == GROUPED_DIMENSIONS)
        return self._has_groups and HAS_MATRIX_VECTOR_KERNEL and grouped_bytes > L2_CACHE_BYTES

    def masks(self, rows: int) -> dict[str, Array]:
        """Returns new arrays for the masks of a run with so many tokens of each input, by the graph's names.

        Each token is a row and a group of its own, with its own mask and distances.
        """
        shape = (self.inputs, rows, self._index.capacity)
        # The graph's masks have further dimensions of length 1.
        return {
            SELF_ATTENTION_BIAS: np.empty(shape, dtype=np.float32)[:, None, :, None],
            DISTANCES: np.empty(shape, dtype=np.int64)[:, :, None],
        }

    def _write_padding_bias(self, first: int) -> None:
        """Writes the bias of the inputs from `first` on."""
        for index, length in enumerate(self.lengths[first:], first):
            self._padding_bias[index, ..., :length] = 0.0
            self._padding_bias[index, ..., length:] = MASKED


def _states(inputs: DecoderInputs, num_beams: int) -> list[Caches]:
    """Returns caches for the states of a recurrent decoder.

    The states are `(rows, width)` in the graph, and `(inputs, beams, width)` here.
    """
    found: list[Caches] = []
    for name in inputs.updated:
        rows, *width = inputs.shapes[name]
        _caches_with_shape(found, [rows, num_beams, *width], axis=None).names.append(name)
    return found


def _self_attention_caches(inputs: DecoderInputs) -> list[Caches]:
    found: list[Caches] = []
    for name in inputs.updated:
        _caches_with_shape(found, inputs.shapes[name], SLOT_AXIS).names.append(name)
    return found


def _cross_attention_caches(inputs: DecoderInputs) -> list[Caches]:
    found: list[Caches] = []
    for name in inputs.cross_attention:
        shape = inputs.shapes[name]
        axis = list(shape).index(SOURCE) if SOURCE in shape else None
        _caches_with_shape(found, shape, axis).names.append(name)
    return found


def _caches_with_shape(found: list[Caches], shape: Sequence[int | str], axis: int | None) -> Caches:
    """Returns the caches of a shape among the found ones, to which new ones are added if there are none."""
    for caches in found:
        if list(caches.shape) == list(shape):
            return caches
    added = Caches(shape, axis)
    found.append(added)
    return added


def _first_positions(array: Array, axis: int, end: int) -> Array:
    """Returns a view of the positions of an axis before `end`."""
    index = [slice(None)] * array.ndim
    index[axis] = slice(end)
    return array[tuple(index)]


def _round_up(value: int, multiple: int) -> int:
    """Returns the smallest multiple that is not below a value."""
    return (value + multiple - 1) // multiple * multiple
