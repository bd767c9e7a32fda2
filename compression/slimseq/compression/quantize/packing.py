"""Packs the int8 weights of graphs into fewer bits, and stores the tensors once for all graphs.

`schemes.int4_blocks` chose the weights so that each is a level times the factor of its block. A level has one of 16 or
of 9 values. A word of 16 bits holds four integers of 16 values, or five of 9 values (9 ** 5 is below 2 ** 16). Float
tensors become fp16, and large float matrices int8 with one scale a row. The graphs unpack everything with operators on
constants, which ONNX Runtime computes once when it opens a graph.
"""

from dataclasses import dataclass
from itertools import product
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from slimseq.compression.quantize.int8.embedding import SHARED_DATA
from slimseq.compression.quantize.int8.quantize_weights import Floats, Int8, quantize_rows
from slimseq.compression.quantize.int8.rewriting import GraphRewriter
from slimseq.inference.graphs.external import move_out

# Float tensors with fewer values stay as they are: the nodes that unpack a tensor take about as many bytes.
MIN_VALUES = 64
# Float matrices with at least so many values become int8. These are learned positions.
MIN_INT8_VALUES = 16384
# Smaller tensors stay in the graph files.
MIN_SHARED_BYTES = 4096
# Tensors in the shared file begin at multiples of this, the length of a cache line.
ALIGNMENT_BYTES = 64
# The largest finite number of fp16.
HALF_MAX = 65504


@dataclass(frozen=True)
class Levels:
    """The values that the integers of weights have before they are multiplied by the factor of their block.

    Args:
        count: number of values. If it is even, there is one more negative value than positive ones. Factors have the
            same number of values.
        in_word: number of integers in a word of 16 bits.
        block: number of inputs with the same factor. Fewer if the number of inputs is no multiple.
        lowest_factor: the smallest factor. If it is negative, the largest weight of a block may have the lowest level,
            of either sign. Products have 7 bits, whose sums do not saturate on CPUs without VNNI.
        damping: what GPTQ adds to the second moments of inputs, as a share of their mean.
    """

    count: int
    in_word: int
    block: int
    lowest_factor: int
    damping: float

    @property
    def lowest(self) -> int:
        return -(self.count // 2)

    @property
    def max_factor(self) -> int:
        return self.lowest_factor + self.count - 1

    def blocks(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Returns the blocks of rows: `(rows, blocks, block)`."""
        return rows.reshape(len(rows), -1, gcd(rows.shape[1], self.block))

    def nearest(self, values: NDArray[Any]) -> Floats:
        found: Floats = np.rint(values).clip(self.lowest, self.lowest + self.count - 1)
        return found


# The damping is GPTQ's own default.
FOUR_BITS = Levels(count=16, in_word=4, block=32, lowest_factor=-8, damping=0.01)
# For embeddings. They are also looked up, so that each row must stay close.
NINE_LEVELS = Levels(count=9, in_word=5, block=16, lowest_factor=1, damping=10.0)
# Share of the vocabulary that counts as frequent. Tokenizers have their tokens in the order of their frequency.
FREQUENT_SHARE = 0.08


class Factored(NamedTuple):
    """A matrix as levels times factors.

    Attributes:
        levels: the kind of levels.
        order: the order of axes that makes rows of blocks from the matrix.
        integers: the levels, `(rows, blocks, block)`.
        factors: the factors of the blocks, `(rows, blocks, 1)`.
    """

    levels: Levels
    order: tuple[int, int]
    integers: Int8
    factors: Int8


def pack(folder: Path) -> None:
    """Packs the graphs in a folder. Afterwards, the graphs need no data file but the one that this function writes.

    The data file has large tensors, each once for all graphs. `locations` has the offset and the size of each in bytes.
    """
    graphs = {path: onnx.load(path) for path in sorted(folder.glob("*.onnx"))}
    locations: dict[bytes, tuple[int, int]] = {}
    with (folder / SHARED_DATA).open("wb") as data:
        for path, model in graphs.items():
            _pack_graph(model)
            for tensor in model.graph.initializer:
                content = tensor.raw_data
                if len(content) >= MIN_SHARED_BYTES:
                    if content not in locations:
                        padding = -data.tell() % ALIGNMENT_BYTES
                        data.write(bytes(padding))
                        offset = data.tell()
                        locations[content] = (offset, data.write(content))
                    move_out(tensor, tensor.data_type, tuple(tensor.dims), SHARED_DATA, *locations[content])
            onnx.save(model, str(path))


def _pack_graph(model: ModelProto) -> None:
    graph = _PackedGraph(model, Path())
    for tensor in list(model.graph.initializer):
        if _pack_tensor(graph, tensor.name, numpy_helper.to_array(tensor)):
            model.graph.initializer.remove(tensor)
    graph.add(*model.graph.node)
    graph.finish()


def _pack_tensor(graph: "_PackedGraph", name: str, values: NDArray[Any]) -> bool:
    """Adds a tensor to a graph in fewer bytes, and the nodes that unpack it. Returns False if it cannot be packed."""
    is_matrix = values.ndim == 2 and min(values.shape) > 1
    if values.dtype == np.int8:
        parts = factored_parts(values) if is_matrix else None
        if parts is None:
            return False
        graph.add_parts(name, *parts)
        return True
    if values.dtype != np.float32 or values.size < MIN_VALUES:
        return False
    if is_matrix and values.size >= MIN_INT8_VALUES:
        integers, scales = quantize_rows(values)
        floats = graph.new("Cast", graph.constant(f"{name}_int8", integers), to=TensorProto.FLOAT)
        graph.node("Mul", [floats, graph.constant(f"{name}_steps", scales)], "", name)
        return True
    half = values.clip(-HALF_MAX, HALF_MAX).astype(np.float16)
    if not np.allclose(half, values, 1e-3, 1e-6):
        return False
    graph.node("Cast", [graph.constant(f"{name}_half", half)], "", name, to=TensorProto.FLOAT)
    return True


def frequent_tokens(tokens: int) -> int:
    """Returns how many of a vocabulary's first tokens, which are its most frequent, have 4 bits a weight."""
    return round(tokens * FREQUENT_SHARE)


def factored_parts(integers: Int8) -> tuple[int, list[Factored]] | None:
    """Splits a matrix into levels and factors, as one part, or its frequent and its other tokens as two parts.

    Returns:
        The axis along which the parts are joined, and the parts. None if the matrix is no levels times factors.
    """
    candidates = [(0, [integers])]
    for axis in (0, 1):
        frequent = frequent_tokens(integers.shape[axis])
        candidates.append((axis, np.split(integers, [frequent], axis)))
    for axis, parts in candidates:
        found = [factored(part) if part.size else None for part in parts]
        splits = [each for each in found if each is not None]
        if len(splits) == len(parts):
            return axis, splits
    return None


def factored(integers: Int8) -> Factored | None:
    """Splits a matrix into levels and the factors of its blocks. Returns None if the matrix has other values.

    A block is in a column of the matrix, or else in a row.
    """
    # Longer blocks are tried first: with blocks of one, any integers are levels times factors.
    orders = sorted(((1, 0), (0, 1)), key=lambda order: -gcd(integers.shape[order[1]], FOUR_BITS.block))
    for levels, order in product((NINE_LEVELS, FOUR_BITS), orders):
        blocks = levels.blocks(integers.transpose(order))
        factors = np.zeros((*blocks.shape[:2], 1), np.int8)
        # A block may have several possible factors. The last one in the order of this set is taken, which decides the
        # bytes of the artifact.
        possible_factors = {*range(levels.lowest_factor, levels.max_factor + 1)} - {0}
        for factor in possible_factors:
            quotients = blocks // np.int8(factor)
            is_multiple = quotients * np.int8(factor) == blocks
            is_level = (quotients >= levels.lowest) & (quotients < levels.lowest + levels.count)
            factors[(is_multiple & is_level).all(axis=2)] = factor
        has_all_factors = factors.all()
        if has_all_factors:
            return Factored(levels, order, blocks // factors, factors)
    return None


class _PackedGraph(GraphRewriter):
    """A graph whose tensors are packed. Its many new nodes have short names, which save bytes in the file."""

    def add_parts(self, name: str, axis: int, parts: list[Factored]) -> None:
        """Adds a matrix `name` as packed levels and factors, which `factored_parts` returns."""
        if len(parts) == 1:
            self._add_levels(name, parts[0])
            return
        names = [f"packed_{len(self._nodes)}_{part}" for part in range(len(parts))]
        for part, found in zip(names, parts, strict=True):
            self._add_levels(part, found)
        self.node("Concat", names, "", name, axis=axis)

    def _add_levels(self, name: str, found: Factored) -> None:
        """Adds a matrix `name` as the product of its levels and factors."""
        integers = self._add_packed(found.levels, found.integers, found.levels.lowest)
        factors = self._add_packed(found.levels, found.factors, found.levels.lowest_factor)
        products = self.new("Mul", integers, factors)
        rows = self.new("Reshape", products, self.integers([len(found.integers), -1]))
        self.node("Transpose", [rows], "", name, perm=found.order)

    def _add_packed(self, levels: Levels, integers: Int8, lowest: int) -> str:
        """Adds integers from `lowest` on as words, and the nodes that look the integers of each word up in a table.

        A word is a number in the base `levels.count`, whose digits are the integers minus `lowest`. The first digit
        counts ones.
        """
        all_digits = integers.ravel() - lowest
        # Zeros fill the last word.
        missing_digits = -all_digits.size % levels.in_word
        digits = np.pad(all_digits, (0, missing_digits)).reshape(-1, levels.in_word)
        place_values = [levels.count**place for place in range(levels.in_word)]
        words = digits.astype(np.uint16) @ np.array(place_values, np.uint16)
        packed = self.constant(f"words_{len(self._nodes)}", words)

        table = self.once(
            ("table", str(place_values), str(lowest)), lambda: self._add_table(levels, place_values, lowest)
        )
        found = self.new("Gather", table, self.new("Cast", packed, to=TensorProto.INT32))
        if missing_digits:
            flat = self.new("Reshape", found, self.integers([-1]))
            found = self.new("Slice", flat, self.integers([0]), self.integers([integers.size]))
        return self.new("Reshape", found, self.integers(integers.shape))

    def _add_table(self, levels: Levels, place_values: list[int], lowest: int) -> str:
        """Adds the nodes that compute the integers of every possible word, `(words, integers)`, int8."""
        first = self.constant("word_0", np.array(0))
        end_value = levels.count**levels.in_word
        end = self.constant(f"word_{end_value}", np.array(end_value))
        step = self.constant("word_1", np.array(1))
        words = self.new("Unsqueeze", self.new("Range", first, end, step), self.integers([1]))
        # A digit is `word // place_value % levels.count`.
        quotients = self.new("Div", words, self.integers(place_values))
        digits = self.new("Mod", quotients, self.integers([levels.count]))
        integers = self.new("Add", digits, self.integers([lowest]))
        return self.new("Cast", integers, to=TensorProto.INT8)

    def new(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.node(operator, inputs, "", f"packed_{len(self._nodes)}", **attributes)
