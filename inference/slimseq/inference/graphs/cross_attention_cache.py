"""How a source's keys and values are kept from the encoder's run to the decoder's steps: as floats, or rounded to int8.

A step reads all of them, for every layer, and with beams as many times: kept in int8, they are a quarter of the bytes,
and products with them run on integers. Keys get a scale a position and head, values one a channel (as in KIVI, Liu et
al. 2024, https://arxiv.org/abs/2402.02750, the other way round: keys are laid out along positions here); queries are
rounded by their largest, or by what a quantizer knows beforehand, and weights of positions by the largest of their row.
"""

from typing import Protocol

from onnx import TensorProto

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.layers import attend, attend_in_groups, linear
from slimseq.inference.graphs.names import CROSS_ATTENTION_BIAS, SOURCE, past, present
from slimseq.inference.models.architecture import Attention, Heads
from slimseq.models_store.manifest import Task

INPUTS = "inputs"
INT8_MOST = 127.0
# 7 bits: two products with an unsigned 8-bit integer stay within the 16-bit sums of CPUs without VNNI.
REDUCED_MOST = 64.0
UINT8_MOST = 255.0
# Below it, a scale would be no number.
LEAST = 1e-12


class CrossAttentionCache(Protocol):
    """Adds what keeps sources to both graphs."""

    @property
    def are_long(self) -> bool:
        """Whether they are documents and not sentences, and so is what is written of them."""

    @property
    def are_queries_grouped(self) -> bool:
        """Whether `attend` takes queries in groups, `(inputs, heads, groups, rows a group, width)`."""

    def add_outputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Makes a decoder layer's keys and values outputs of the encoder's graph."""

    def add_inputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Makes them inputs of the decoder's graph."""

    def store(self, builder: GraphBuilder, states: str, names: Attention, heads: Heads, layer: int) -> None:
        """Computes them of the encoder's last states, `(inputs, length, width)`, float32."""

    def attend(self, builder: GraphBuilder, query: str, layer: int, path: str) -> str:
        """Lets queries `(inputs, heads, queries, width)`, scaled, attend to them; returns contexts of their shape."""


class FloatCrossAttentionCache:
    """Keys `(inputs, heads, width, length)` and values `(inputs, heads, length, width)`, float32: for sentences."""

    are_long = False
    are_queries_grouped = False

    def add_outputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Adds the encoder's outputs, as `CrossAttentionCache.add_outputs` says."""
        for name, dimensions in zip(present(layer, "encoder"), _dimensions(heads), strict=True):
            builder.output(name, dimensions)

    def add_inputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Adds the decoder's inputs, as `CrossAttentionCache.add_inputs` says."""
        for name, dimensions in zip(past(layer, "encoder"), _dimensions(heads), strict=True):
            builder.input(name, dimensions, TensorProto.FLOAT)

    def store(self, builder: GraphBuilder, states: str, names: Attention, heads: Heads, layer: int) -> None:
        """Adds the projections, as `CrossAttentionCache.store` says."""
        path = builder.path(names.query.rpartition(".")[0])
        outputs = present(layer, "encoder")
        for name, output, turned in zip((names.key, names.value), outputs, ([0, 2, 3, 1], [0, 2, 1, 3]), strict=True):
            split = _split(builder, linear(builder, states, name), heads, path)
            builder.node("Transpose", [split], path, output, perm=turned)

    def attend(self, builder: GraphBuilder, query: str, layer: int, path: str) -> str:
        """Adds attention in floats, as `CrossAttentionCache.attend` says."""
        key, value = past(layer, "encoder")
        return attend(builder, query, key, value, CROSS_ATTENTION_BIAS, path)


class Int8CrossAttentionCache:
    """The same in int8. Scales of keys are `(inputs, heads, 1, length)`, of values `(inputs, heads, 1, width)`.

    Args:
        reduce_range: whether keys and values have 7 bits, for CPUs whose 8-bit products saturate.
    """

    are_long = True
    are_queries_grouped = False

    def __init__(self, reduce_range: bool = False) -> None:
        self._most = REDUCED_MOST if reduce_range else INT8_MOST

    def add_outputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Adds the encoder's outputs, as `CrossAttentionCache.add_outputs` says."""
        names = present(layer, "encoder")
        for name, dimensions, scales in zip(names, _dimensions(heads), _scales(heads), strict=True):
            builder.output(name, dimensions, TensorProto.INT8)
            builder.output(scale_of(name), scales)

    def add_inputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Adds the decoder's inputs, as `CrossAttentionCache.add_inputs` says."""
        names = past(layer, "encoder")
        for name, dimensions, scales in zip(names, _dimensions(heads), _scales(heads), strict=True):
            builder.input(name, dimensions, TensorProto.INT8)
            builder.input(scale_of(name), scales, TensorProto.FLOAT)

    def store(self, builder: GraphBuilder, states: str, names: Attention, heads: Heads, layer: int) -> None:
        """Adds the projections and their rounding, as `CrossAttentionCache.store` says."""
        path = builder.path(names.query.rpartition(".")[0])
        key_output, value_output = present(layer, "encoder")
        keys = _split(builder, linear(builder, states, names.key), heads, path)
        rounded, scale = _rounded(builder, keys, -1, path, None, self._most)
        builder.node("Transpose", [rounded], path, key_output, perm=[0, 2, 3, 1])
        builder.node("Transpose", [scale], path, scale_of(key_output), perm=[0, 2, 3, 1])
        values = _split(builder, linear(builder, states, names.value), heads, path)
        # Of padding no channel's scale may depend: an input is the same beside longer ones.
        is_source = builder.once("what is source", lambda: _is_source(builder))
        rounded, scale = _rounded(builder, values, 1, path, is_source, self._most)
        builder.node("Transpose", [rounded], path, value_output, perm=[0, 2, 1, 3])
        builder.node("Transpose", [scale], path, scale_of(value_output), perm=[0, 2, 1, 3])

    def attend(self, builder: GraphBuilder, query: str, layer: int, path: str) -> str:
        """Adds attention in integers, as `CrossAttentionCache.attend` says."""
        key, value = past(layer, "encoder")
        rounded = [f"{path}/query/{part}" for part in ("rounded", "scale", "zero")]
        builder.node("DynamicQuantizeLinear", [query], path, rounded)
        scales = builder.node("Mul", [scale_of(key), rounded[1]], path)
        scores = builder.node("Mul", [_product(builder, rounded[0], key, path, rounded[2]), scales], path)
        scores = builder.node("Add", [scores, CROSS_ATTENTION_BIAS], path)
        weights = builder.node("Softmax", [scores], path, axis=-1)
        largest = builder.node("ReduceMax", [weights, builder.integers(-1)], path, keepdims=1)
        step = builder.node("Div", [largest, builder.number(UINT8_MOST)], path)
        # One row of positions a query, for that is what can have a scale of its own.
        shape = builder.once("weights of sources", lambda: builder.node("Shape", [weights], path))
        rows = builder.once("rows of weights of sources", lambda: _rows_of(builder, shape, path))
        flat = builder.node("Reshape", [weights, rows], path)
        steps = builder.node("Reshape", [step, builder.integers(-1)], path)
        whole = builder.node("Reshape", [builder.node("QuantizeLinear", [flat, steps], path, axis=0), shape], path)
        summed = builder.node("Mul", [_product(builder, whole, value, path), step], path)
        return builder.node("Mul", [summed, scale_of(value)], path)


class LongCrossAttentionCache:
    """Keys and values `(inputs, heads, 1, length, width)`, float32: for documents, whose products groups pay for."""

    are_long = True
    are_queries_grouped = True

    def add_outputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Adds the encoder's outputs, as `CrossAttentionCache.add_outputs` says."""
        for name in present(layer, "encoder"):
            builder.output(name, _grouped(heads))

    def add_inputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Adds the decoder's inputs, as `CrossAttentionCache.add_inputs` says."""
        for name in past(layer, "encoder"):
            builder.input(name, _grouped(heads), TensorProto.FLOAT)

    def store(self, builder: GraphBuilder, states: str, names: Attention, heads: Heads, layer: int) -> None:
        """Adds the projections, as `CrossAttentionCache.store` says."""
        path = builder.path(names.query.rpartition(".")[0])
        shape = builder.integers(0, 0, heads.count, 1, heads.width)
        for name, output in zip((names.key, names.value), present(layer, "encoder"), strict=True):
            split = builder.node("Reshape", [linear(builder, states, name), shape], path)
            builder.node("Transpose", [split], path, output, perm=[0, 2, 3, 1, 4])

    def attend(self, builder: GraphBuilder, query: str, layer: int, path: str) -> str:
        """Adds attention in floats, as `CrossAttentionCache.attend` says."""
        added = builder.once(
            "source scores of groups",
            lambda: builder.node("Unsqueeze", [CROSS_ATTENTION_BIAS, builder.integers(1)], path),
        )
        return attend_in_groups(builder, query, past(layer, "encoder"), added, path)


def float_cross_attention_cache(task: Task) -> CrossAttentionCache:
    """Returns how floats are kept: summarizers read documents, and translators sentences."""
    return LongCrossAttentionCache() if task is Task.SUMMARIZATION else FloatCrossAttentionCache()


def _rows_of(builder: GraphBuilder, shape: str, path: str) -> str:
    """Returns the shape of values of a shape `(..., length)` as rows: `(-1, length)`."""
    length = builder.node("Slice", [shape, builder.integers(3), builder.integers(4)], path)
    return builder.node("Concat", [builder.integers(-1), length], path, axis=0)


def scale_of(name: str) -> str:
    """Returns what the scales of rounded keys or values are called."""
    return f"{name}_scale"


def _product(builder: GraphBuilder, left: str, right: str, path: str, zero: str = "") -> str:
    """Multiplies integers; returns floats."""
    product = builder.node("MatMulInteger", [left, right, zero] if zero else [left, right], path)
    return builder.node("Cast", [product], path, to=TensorProto.FLOAT)


def _rounded(
    builder: GraphBuilder, values: str, axis: int, path: str, counted: str | None, most: float
) -> tuple[str, str]:
    """Quantizes to integers up to `most`, with scales by the largest of what counts along an axis; returns both."""
    sizes = builder.node("Abs", [values], path)
    if counted is not None:
        sizes = builder.node("Mul", [sizes, counted], path)
    largest = builder.node("ReduceMax", [sizes, builder.integers(axis)], path, keepdims=1)
    safe = builder.node("Max", [largest, builder.number(LEAST)], path)
    scale = builder.node("Div", [safe, builder.number(most)], path)
    ratios = builder.node("Round", [builder.node("Div", [values, scale], path)], path)
    return builder.node("Cast", [ratios], path, to=TensorProto.INT8), scale


def _is_source(builder: GraphBuilder) -> str:
    """Returns which positions are no padding, `(inputs, length, 1, 1)`, float32."""
    floats = builder.node("Cast", ["attention_mask"], "/sources", to=TensorProto.FLOAT)
    return builder.node("Unsqueeze", [floats, builder.integers(2, 3)], "/sources")


def _split(builder: GraphBuilder, states: str, heads: Heads, path: str) -> str:
    """Turns `(inputs, length, heads * width)` into `(inputs, length, heads, width)`."""
    return builder.node("Reshape", [states, builder.integers(0, 0, heads.count, heads.width)], path)


def _dimensions(heads: Heads) -> tuple[list[int | str], list[int | str]]:
    return [INPUTS, heads.count, heads.width, SOURCE], [INPUTS, heads.count, SOURCE, heads.width]


def _grouped(heads: Heads) -> list[int | str]:
    return [INPUTS, heads.count, 1, SOURCE, heads.width]


def _scales(heads: Heads) -> tuple[list[int | str], list[int | str]]:
    return [INPUTS, heads.count, 1, SOURCE], [INPUTS, heads.count, 1, heads.width]
