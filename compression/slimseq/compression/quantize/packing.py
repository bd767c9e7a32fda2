"""Packs graphs whose int8 weights are levels times factors of blocks, and stores their tensors once for all graphs.

Four integers of 16 levels fill a word of 16 bits, as do five of nine (9 ** 5 is below 2 ** 16). Float tensors become
fp16, large matrices int8 with one scale a row. The graphs unpack them with operators on constants, which ONNX Runtime
computes once, when it opens them.
"""

from dataclasses import dataclass
from itertools import product
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from slimseq.compression.quantize.int8.embedding import SHARED_DATA
from slimseq.compression.quantize.int8.quantize_weights import Floats, Int8, quantize_rows
from slimseq.compression.quantize.int8.rewriting import GraphRewriter
from slimseq.inference.graphs.external import move_out

# Smaller float tensors stay as they are.
MIN_VALUES = 64
# Float matrices from this size on become int8: positions.
MIN_INT8_VALUES = 16384
# Smaller tensors stay in the graph files.
MIN_SHARED_BYTES = 4096
ALIGNMENT_BYTES = 64
HALF_MAX = 65504


@dataclass(frozen=True)
class Levels:
    """The integers of weights before their multiplication by the factor of their block.

    Args:
        count: how many there are, one more negative than positive if it is even. Factors have as many values.
        in_word: how many fill 16 bits.
        block: inputs with the same factor; fewer where the number of inputs is no multiple.
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
# Of a vocabulary. Tokenizers have their tokens in the order of their frequency.
FREQUENT_SHARE = 0.08
# A kind of levels, the order of axes, levels and factors, as `factored` returns them.
Factored = tuple[Levels, tuple[int, int], Int8, Int8]


def pack(folder: Path) -> None:
    """Packs the graphs in a folder, which are then read with the folder's data file alone."""
    graphs = {path: onnx.load(path) for path in sorted(folder.glob("*.onnx"))}
    locations: dict[bytes, tuple[int, int]] = {}
    with (folder / SHARED_DATA).open("wb") as data:
        for path, model in graphs.items():
            _pack_graph(model)
            for tensor in model.graph.initializer:
                content = tensor.raw_data
                if len(content) >= MIN_SHARED_BYTES:
                    if content not in locations:
                        data.write(bytes(-data.tell() % ALIGNMENT_BYTES))
                        locations[content] = (data.tell(), data.write(content))
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
    """Adds a tensor to a graph in fewer bytes, and the nodes that unpack it; returns whether it can be packed."""
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
    """Splits a matrix, or its frequent and its other tokens; returns their axis too, and None for other values."""
    wholes = [(0, [integers])]
    wholes += [(axis, np.split(integers, [frequent_tokens(integers.shape[axis])], axis)) for axis in (0, 1)]
    for axis, parts in wholes:
        found = [factored(part) if part.size else None for part in parts]
        splits = [each for each in found if each is not None]
        if len(splits) == len(parts):
            return axis, splits
    return None


def factored(integers: Int8) -> Factored | None:
    """Splits a matrix into levels and the factors of its blocks, which are in its columns or else in its rows.

    Returns:
        The kind of levels, the order of axes that makes rows of blocks, levels `(rows, blocks, block)`, and factors
        `(rows, blocks, 1)`; None if the matrix has other values.
    """
    # The longer blocks first: any integers are blocks of one.
    orders = sorted(((1, 0), (0, 1)), key=lambda order: -gcd(integers.shape[order[1]], FOUR_BITS.block))
    for levels, order in product((NINE_LEVELS, FOUR_BITS), orders):
        blocks = levels.blocks(integers.transpose(order))
        factors = np.zeros((*blocks.shape[:2], 1), np.int8)
        for factor in {*range(levels.lowest_factor, levels.max_factor + 1)} - {0}:
            quotients = blocks // np.int8(factor)
            is_level = (quotients >= levels.lowest) & (quotients < levels.lowest + levels.count)
            factors[(is_level & (quotients * np.int8(factor) == blocks)).all(axis=2)] = factor
        if factors.all():
            return levels, order, blocks // factors, factors
    return None


class _PackedGraph(GraphRewriter):
    """A graph whose tensors are packed. What it adds has short names, since there is much of it."""

    def add_parts(self, name: str, axis: int, parts: list[Factored]) -> None:
        """Adds a matrix `name` as packed levels and factors, which `factored_parts` returns."""
        if len(parts) == 1:
            return self._add_levels(name, *parts[0])
        names = [f"packed_{len(self._nodes)}_{part}" for part in range(len(parts))]
        for part, found in zip(names, parts, strict=True):
            self._add_levels(part, *found)
        self.node("Concat", names, "", name, axis=axis)

    def _add_levels(self, name: str, levels: Levels, order: tuple[int, int], integers: Int8, factors: Int8) -> None:
        parts = (integers, levels.lowest), (factors, levels.lowest_factor)
        products = self.new("Mul", *(self._add_packed(levels, *part) for part in parts))
        rows = self.new("Reshape", products, self.integers([len(integers), -1]))
        self.node("Transpose", [rows], "", name, perm=order)

    def _add_packed(self, levels: Levels, integers: Int8, lowest: int) -> str:
        digits = np.pad(integers.ravel() - lowest, (0, -integers.size % levels.in_word)).reshape(-1, levels.in_word)
        places = [levels.count**place for place in range(levels.in_word)]
        words = self.constant(f"words_{len(self._nodes)}", digits.astype(np.uint16) @ np.array(places, np.uint16))

        def make_table() -> str:
            """Adds the integers of every word, `(words, integers)`, int8."""
            ends = (self.constant(f"word_{end}", np.array(end)) for end in (0, levels.count**levels.in_word, 1))
            every = self.new("Unsqueeze", self.new("Range", *ends), self.integers([1]))
            table = self.new("Mod", self.new("Div", every, self.integers(places)), self.integers([levels.count]))
            return self.new("Cast", self.new("Add", table, self.integers([lowest])), to=TensorProto.INT8)

        table = self.once(("table", str(places), str(lowest)), make_table)
        found = self.new("Gather", table, self.new("Cast", words, to=TensorProto.INT32))
        if digits.size > integers.size:
            flat = self.new("Reshape", found, self.integers([-1]))
            found = self.new("Slice", flat, self.integers([0]), self.integers([integers.size]))
        return self.new("Reshape", found, self.integers(integers.shape))

    def new(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.node(operator, inputs, "", f"packed_{len(self._nodes)}", **attributes)
