"""Packs graphs whose int8 weights are levels times factors of blocks, and stores what both graphs read only once.

Four integers of 16 levels fill a word of 16 bits, as do five of nine (9 ** 5 is below 2 ** 16). Float tensors become
fp16, large ones int8 with one scale a row. The graphs unpack them with operators on constants, which ONNX Runtime
computes once, when it opens a graph.
"""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from slimseq.compression.quantize.embedding import SHARED_DATA, Floats, Int8, quantize_rows
from slimseq.inference.graphs.external import move_out

DOMAIN = "slimseq"
# Smaller float tensors stay as they are.
MIN_VALUES = 64
# Two-dimensional float tensors from this size on become int8: positions.
MIN_INT8_VALUES = 16384
# Smaller tensors stay in the graph files.
MIN_SHARED_BYTES = 4096

# `Table` has the digits of every word, `(words, digits)`, int8. `Unpack` makes a matrix of packed levels and factors.
FUNCTIONS = (
    """<opset_import: ["": 20], domain: "slimseq">
    Table <words, count, powers> () => (table) {
        start = Constant <value_int = 0> ()
        end = Constant <value_int: int = @words> ()
        step = Constant <value_int = 1> ()
        base = Constant <value_int: int = @count> ()
        places = Constant <value_ints: ints = @powers> ()
        axis = Constant <value_ints = [1]> ()
        numbers = Range (start, end, step)
        column = Unsqueeze (numbers, axis)
        quotients = Div (column, places)
        digits = Mod (quotients, base)
        table = Cast <to = 3> (digits)
    }""",
    """<opset_import: ["": 20], domain: "slimseq">
    Unpack <lowest, ends, levels_shape, factors_shape, shape> (table, packed) => (integers) {
        flat = Constant <value_ints = [-1]> ()
        start = Constant <value_ints = [0]> ()
        offsets = Constant <value_ints: ints = @lowest> ()
        all_ends = Constant <value_ints: ints = @ends> ()
        of_levels = Constant <value_ints: ints = @levels_shape> ()
        of_factors = Constant <value_ints: ints = @factors_shape> ()
        of_matrix = Constant <value_ints: ints = @shape> ()
        levels_end, factors_end = Split <num_outputs = 2> (all_ends)
        bytes = Cast <to = 3> (offsets)
        level_offset, factor_offset = Split <num_outputs = 2> (bytes)
        words = Cast <to = 6> (packed)
        in_words = Gather (table, words)
        digits = Reshape (in_words, flat)
        level_digits = Slice (digits, start, levels_end)
        level_blocks = Reshape (level_digits, of_levels)
        levels = Add (level_blocks, level_offset)
        factor_digits = Slice (digits, levels_end, factors_end)
        factor_blocks = Reshape (factor_digits, of_factors)
        factors = Add (factor_blocks, factor_offset)
        products = Mul (levels, factors)
        integers = Reshape (products, of_matrix)
    }""",
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Levels:
    """The integers of weights before their multiplication by a factor.

    Args:
        lowest: the smallest.
        count: how many there are.
        in_word: how many fill 16 bits.
        block: inputs with the same factor; fewer where the number of inputs is no multiple.
        lowest_factor: the smallest factor of a block. If it is negative, the largest weight of a block may have the
            lowest level, of either sign. Factors are packed as levels are.
        max_factor: the largest. Products have 7 bits, whose sums do not saturate on CPUs without VNNI.
        damping: what GPTQ adds to the second moments of inputs, as a share of their mean.
    """

    lowest: int
    count: int
    in_word: int
    block: int
    lowest_factor: int
    max_factor: int
    damping: float

    def blocks(self, rows: Array) -> Array:
        """Returns the blocks of rows: `(rows, blocks, block)`."""
        return rows.reshape(len(rows), -1, math.gcd(rows.shape[1], self.block))

    def nearest(self, values: Array) -> Array:
        return np.rint(values).clip(self.lowest, self.lowest + self.count - 1)

    def packed(self, levels: Int8, factors: Int8) -> Array:
        """Returns levels and factors in words, `(words,)`, uint16."""
        digits = np.concatenate([levels.ravel() - self.lowest, factors.ravel() - self.lowest_factor], dtype=np.int64)
        digits = np.pad(digits, (0, -len(digits) % self.in_word)).reshape(-1, self.in_word)
        return (digits @ self.count ** np.arange(self.in_word)).astype(np.uint16)


# The damping is GPTQ's own default.
FOUR_BITS = Levels(lowest=-8, count=16, in_word=4, block=32, lowest_factor=-8, max_factor=7, damping=0.01)
# For embeddings. They are also looked up, so that each row must stay close.
NINE_LEVELS = Levels(lowest=-4, count=9, in_word=5, block=16, lowest_factor=1, max_factor=9, damping=10.0)


def pack(folder: Path) -> None:
    """Packs the graphs in a folder, which are then read with the folder's data file alone."""
    graphs = {path: onnx.load(path) for path in sorted(folder.glob("*.onnx"))}
    for model in graphs.values():
        _pack_graph(model)
    readers = Counter(tensor.raw_data for model in graphs.values() for tensor in model.graph.initializer)
    locations: dict[bytes, tuple[int, int]] = {}
    with (folder / SHARED_DATA).open("wb") as data:
        for path, model in graphs.items():
            for tensor in model.graph.initializer:
                content = tensor.raw_data
                if readers[content] > 1 and len(content) >= MIN_SHARED_BYTES:
                    if content not in locations:
                        data.write(bytes(-data.tell() % MIN_VALUES))
                        locations[content] = (data.tell(), data.write(content))
                    move_out(tensor, tensor.data_type, tuple(tensor.dims), SHARED_DATA, *locations[content])
            onnx.save(model, str(path))


def _pack_graph(model: ModelProto) -> None:
    tensors: dict[str, Array] = {}
    tables: dict[str, NodeProto] = {}
    nodes: list[NodeProto] = []
    for tensor in model.graph.initializer:
        values, name = numpy_helper.to_array(tensor), tensor.name
        is_float = values.dtype == np.float32 and values.size >= MIN_VALUES
        is_matrix = values.ndim == 2 and min(values.shape) > 1
        if is_matrix and values.dtype == np.int8 and (parts := factored(values)) is not None:
            nodes += _pack_integers(name, *parts, tensors, tables)
        elif is_float and is_matrix and values.size >= MIN_INT8_VALUES:
            tensors[f"{name}_int8"], scales = quantize_rows(values)
            tensors[f"{name}_steps"] = scales.astype(np.float16)
            casts = [(f"{name}_{part}", f"{name}_{part}_float") for part in ("int8", "steps")]
            nodes += [helper.make_node("Cast", [of], [to], to=TensorProto.FLOAT) for of, to in casts]
            nodes.append(helper.make_node("Mul", [to for _, to in casts], [name]))
        elif is_float and np.allclose(_half(values), values, 1e-3, 1e-6):
            tensors[f"{name}_half"] = _half(values)
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        else:
            tensors[name] = values
    del model.graph.initializer[:]
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in tensors.items())
    nodes = [*tables.values(), *nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.functions.extend(map(onnx.parser.parse_function, FUNCTIONS if tables else ()))
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def _half(values: Floats) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def factored(integers: Int8) -> tuple[Levels, Int8, Int8, bool] | None:
    """Splits a matrix into levels and the factors of its blocks, which are in its rows or else in its columns.

    Returns:
        The kind of levels, levels `(rows, blocks, block)`, factors `(rows, blocks, 1)`, and whether rows are the
        columns of the matrix; None if the matrix has other values.
    """
    for levels, is_transposed in product((NINE_LEVELS, FOUR_BITS), (True, False)):
        blocks = levels.blocks(integers.T if is_transposed else integers)
        factors = np.zeros((*blocks.shape[:2], 1), dtype=np.int8)
        for factor in {*range(levels.lowest_factor, levels.max_factor + 1)} - {0}:
            quotients = blocks // np.int8(factor)
            is_level = (quotients >= levels.lowest) & (quotients < levels.lowest + levels.count)
            factors[(is_level & (quotients * np.int8(factor) == blocks)).all(axis=2)] = factor
        if factors.all():
            return levels, blocks // factors, factors, is_transposed
    return None


def _pack_integers(
    name: str,
    levels: Levels,
    integers: Int8,
    factors: Int8,
    is_transposed: bool,
    tensors: dict[str, Array],
    tables: dict[str, NodeProto],
) -> list[NodeProto]:
    """Adds the packed tensors of a matrix, and the table that unpacks them; returns the nodes that do so."""
    table, rows = f"words_of_{levels.count}", f"{name}_rows" if is_transposed else name
    powers = [levels.count**power for power in range(levels.in_word)]
    kind = {"words": levels.count**levels.in_word, "count": levels.count, "powers": powers}
    tables[table] = helper.make_node("Table", [], [table], domain=DOMAIN, **kind)
    tensors[f"{name}_packed"] = levels.packed(integers, factors)
    sizes: dict[str, Any] = {
        "levels_shape": integers.shape,
        "factors_shape": factors.shape,
        "shape": (len(integers), -1),
    }
    sizes |= {"lowest": (levels.lowest, levels.lowest_factor), "ends": (integers.size, integers.size + factors.size)}
    nodes = [helper.make_node("Unpack", [table, f"{name}_packed"], [rows], domain=DOMAIN, **sizes)]
    return [*nodes, helper.make_node("Transpose", [rows], [name], perm=[1, 0])] if is_transposed else nodes
