"""The cross-attention cache: keys and values of the encoder's output, in float32 or int8.

The encoder graph computes it once an input (`store`). Each decoder step reads all of it for every layer (`attend`).
There are three kinds: float32 for sentences, float32 for documents, and int8, which an export may choose.

In int8 the cache has a quarter of the bytes, and attention uses integer matmuls. Keys have one scale for each position
and head, values one for each channel (the reverse of KIVI, Liu et al. 2024, https://arxiv.org/abs/2402.02750, since
keys are transposed here). Queries are quantized with a dynamic scale, which a quantizer may replace by a static one,
and attention weights with one scale a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from onnx import TensorProto

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.tensor_names import CROSS_ATTENTION_BIAS, SOURCE, past, present
from slimseq.inference.graphs.transformer_layers import attend, attend_in_groups, linear
from slimseq.inference.models.architecture import Attention, Heads
from slimseq.models_store.manifest import Task

# Name of a symbolic dimension: the number of inputs in flight.
INPUTS = "inputs"
# Largest integers that values are quantized to.
INT8_MAX = 127.0
# With 7 bits, the sum of two products with an unsigned 8-bit integer fits in 16 bits, which CPUs without VNNI use.
INT8_REDUCED_MAX = 64.0
UINT8_MAX = 255.0
# Lower bound of the largest absolute value, so that no scale is 0.
MIN_ABSOLUTE_MAX = 1e-12


# A tensor's name, dimensions and type.
Tensor = tuple[str, list[int | str], int]


class CrossAttentionCache(ABC):
    """Adds the cross-attention cache to both graphs.

    Attributes:
        is_for_documents: whether inputs and outputs are documents, not sentences.
        are_queries_grouped: whether `attend` takes grouped queries, `(inputs, heads, groups, rows a group, width)`.
    """

    is_for_documents: ClassVar[bool] = True
    are_queries_grouped: ClassVar[bool] = False

    def add_outputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Adds a decoder layer's keys and values to the outputs of the encoder graph."""
        for tensor in self._tensors(present(layer, "encoder"), heads):
            builder.output(*tensor)

    def add_inputs(self, builder: GraphBuilder, layer: int, heads: Heads) -> None:
        """Adds a decoder layer's keys and values to the inputs of the decoder graph."""
        for tensor in self._tensors(past(layer, "encoder"), heads):
            builder.input(*tensor)

    @abstractmethod
    def _tensors(self, names: tuple[str, str], heads: Heads) -> Iterator[Tensor]:
        """Yields the cached tensors of a layer. `names` are the names of its keys and values."""

    @abstractmethod
    def store(self, builder: GraphBuilder, states: str, names: Attention, layer: int) -> None:
        """Computes a layer's keys and values from the encoder's last states, `(inputs, length, width)`, float32."""

    @abstractmethod
    def attend(self, builder: GraphBuilder, query: str, heads: Heads, layer: int, path: str) -> str:
        """Adds attention of scaled queries `(inputs, heads, queries, width)`; returns contexts of the same shape."""


class FloatCrossAttentionCache(CrossAttentionCache):
    """For sentences: keys `(inputs, heads, width, length)` and values `(inputs, heads, length, width)`, float32."""

    is_for_documents = False

    def _tensors(self, names: tuple[str, str], heads: Heads) -> Iterator[Tensor]:
        for name, dimensions in zip(names, _dimensions(heads), strict=True):
            yield name, dimensions, TensorProto.FLOAT

    def store(self, builder: GraphBuilder, states: str, names: Attention, layer: int) -> None:
        path = builder.path(names.query.rpartition(".")[0])
        outputs = present(layer, "encoder")
        # Keys are stored transposed, as attention multiplies with them.
        orders = ([0, 2, 3, 1], [0, 2, 1, 3])
        for name, output, order in zip((names.key, names.value), outputs, orders, strict=True):
            split = _split_heads(builder, linear(builder, states, name), names.heads, path)
            builder.node("Transpose", [split], path, output, perm=order)

    def attend(self, builder: GraphBuilder, query: str, heads: Heads, layer: int, path: str) -> str:
        key, value = past(layer, "encoder")
        return attend(builder, query, key, value, CROSS_ATTENTION_BIAS, path)


class Int8CrossAttentionCache(CrossAttentionCache):
    """The shapes of `FloatCrossAttentionCache` in int8, with float32 scales.

    Scales of keys are `(inputs, heads, 1, length)`, scales of values `(inputs, heads, 1, width)`. With a reduced range
    keys and values have 7 bits, for CPUs whose 8-bit multiply-add saturates (without VNNI).
    """

    def __init__(self, reduce_range: bool = False) -> None:
        self._max_integer = INT8_REDUCED_MAX if reduce_range else INT8_MAX

    def _tensors(self, names: tuple[str, str], heads: Heads) -> Iterator[Tensor]:
        for name, dimensions in zip(names, _dimensions(heads), strict=True):
            yield name, dimensions, TensorProto.INT8
            yield scales_name(name), [*dimensions[:2], 1, dimensions[-1]], TensorProto.FLOAT

    def store(self, builder: GraphBuilder, states: str, names: Attention, layer: int) -> None:
        path = builder.path(names.query.rpartition(".")[0])
        key_output, value_output = present(layer, "encoder")
        keys = _split_heads(builder, linear(builder, states, names.key), names.heads, path)
        quantized, scale = _quantize(builder, keys, -1, path, None, self._max_integer)
        builder.node("Transpose", [quantized], path, key_output, perm=[0, 2, 3, 1])
        builder.node("Transpose", [scale], path, scales_name(key_output), perm=[0, 2, 3, 1])
        values = _split_heads(builder, linear(builder, states, names.value), names.heads, path)
        # The scales of channels must not depend on padding, so that the batch has no influence.
        is_token = builder.once("token mask", lambda: _token_mask(builder))
        quantized, scale = _quantize(builder, values, 1, path, is_token, self._max_integer)
        builder.node("Transpose", [quantized], path, value_output, perm=[0, 2, 1, 3])
        builder.node("Transpose", [scale], path, scales_name(value_output), perm=[0, 2, 1, 3])

    def attend(self, builder: GraphBuilder, query: str, heads: Heads, layer: int, path: str) -> str:
        key, value = past(layer, "encoder")
        integer_query, query_scale, query_zero = f"{path}/query/rounded", f"{path}/query/scale", f"{path}/query/zero"
        builder.node("DynamicQuantizeLinear", [query], path, [integer_query, query_scale, query_zero])
        scales = builder.node("Mul", [scales_name(key), query_scale], path)
        products = _integer_matmul(builder, integer_query, key, path, query_zero)
        scores = builder.node("Mul", [products, scales], path)
        scores = builder.node("Add", [scores, CROSS_ATTENTION_BIAS], path)
        weights = builder.node("Softmax", [scores], path, axis=-1)

        largest = builder.node("ReduceMax", [weights, builder.integers(-1)], path, keepdims=1)
        scale = builder.node("Div", [largest, builder.number(UINT8_MAX)], path)
        # `QuantizeLinear` has one scale for each index of one axis, so each query's weights become a row of a matrix.
        shape = builder.once(f"shape of weights, {heads.count}", lambda: builder.node("Shape", [weights], path))
        matrix_shape = builder.once("matrix shape of weights", lambda: _matrix_shape(builder, shape, path))
        matrix = builder.node("Reshape", [weights, matrix_shape], path)
        row_scales = builder.node("Reshape", [scale, builder.integers(-1)], path)
        integers = builder.node("QuantizeLinear", [matrix, row_scales], path, axis=0)
        integers = builder.node("Reshape", [integers, shape], path)

        context = builder.node("Mul", [_integer_matmul(builder, integers, value, path), scale], path)
        return builder.node("Mul", [context, scales_name(value)], path)


class LongCrossAttentionCache(CrossAttentionCache):
    """For documents: keys and values `(inputs, heads, 1, length, width)`, float32, for attention in groups."""

    are_queries_grouped = True

    def _tensors(self, names: tuple[str, str], heads: Heads) -> Iterator[Tensor]:
        for name in names:
            yield name, [INPUTS, heads.count, 1, SOURCE, heads.width], TensorProto.FLOAT

    def store(self, builder: GraphBuilder, states: str, names: Attention, layer: int) -> None:
        path = builder.path(names.query.rpartition(".")[0])
        shape = builder.integers(0, 0, names.heads.count, 1, names.heads.width)
        for name, output in zip((names.key, names.value), present(layer, "encoder"), strict=True):
            split = builder.node("Reshape", [linear(builder, states, name), shape], path)
            builder.node("Transpose", [split], path, output, perm=[0, 2, 3, 1, 4])

    def attend(self, builder: GraphBuilder, query: str, heads: Heads, layer: int, path: str) -> str:
        added = builder.once(
            "cross-attention bias of groups",
            lambda: builder.node("Unsqueeze", [CROSS_ATTENTION_BIAS, builder.integers(1)], path),
        )
        return attend_in_groups(builder, query, past(layer, "encoder"), added, path)


def float_cross_attention_cache(task: Task) -> CrossAttentionCache:
    """Returns the float32 cache for a task: summarization reads documents, translation sentences."""
    return LongCrossAttentionCache() if task is Task.SUMMARIZATION else FloatCrossAttentionCache()


def _matrix_shape(builder: GraphBuilder, shape: str, path: str) -> str:
    """Returns the shape `(-1, length)` for a shape `(..., length)` of four dimensions."""
    length = builder.node("Slice", [shape, builder.integers(3), builder.integers(4)], path)
    return builder.node("Concat", [builder.integers(-1), length], path, axis=0)


def scales_name(name: str) -> str:
    """Returns the name of the scales of int8 keys or values."""
    return f"{name}_scale"


def _integer_matmul(builder: GraphBuilder, left: str, right: str, path: str, zero: str = "") -> str:
    """Adds an integer matmul; returns float32 values, without scales."""
    integers = builder.node("MatMulInteger", [left, right, zero] if zero else [left, right], path)
    return builder.node("Cast", [integers], path, to=TensorProto.FLOAT)


def _quantize(
    builder: GraphBuilder, values: str, axis: int, path: str, mask: str | None, max_integer: float
) -> tuple[str, str]:
    """Quantizes symmetrically to int8, with one scale for all values along an axis. Masked values do not count.

    Returns:
        The integers and their scales.
    """
    magnitudes = builder.node("Abs", [values], path)
    if mask is not None:
        magnitudes = builder.node("Mul", [magnitudes, mask], path)
    largest = builder.node("ReduceMax", [magnitudes, builder.integers(axis)], path, keepdims=1)
    nonzero = builder.node("Max", [largest, builder.number(MIN_ABSOLUTE_MAX)], path)
    scale = builder.node("Div", [nonzero, builder.number(max_integer)], path)
    ratios = builder.node("Round", [builder.node("Div", [values, scale], path)], path)
    return builder.node("Cast", [ratios], path, to=TensorProto.INT8), scale


def _token_mask(builder: GraphBuilder) -> str:
    """Returns 1 for tokens and 0 for padding, `(inputs, length, 1, 1)`, float32."""
    floats = builder.node("Cast", ["attention_mask"], "/sources", to=TensorProto.FLOAT)
    return builder.node("Unsqueeze", [floats, builder.integers(2, 3)], "/sources")


def _split_heads(builder: GraphBuilder, states: str, heads: Heads, path: str) -> str:
    """Turns `(inputs, length, heads * width)` into `(inputs, length, heads, width)`."""
    return builder.node("Reshape", [states, builder.integers(0, 0, heads.count, heads.width)], path)


def _dimensions(heads: Heads) -> tuple[list[int | str], list[int | str]]:
    """Returns the dimensions of keys and of values, for sentences."""
    return [INPUTS, heads.count, heads.width, SOURCE], [INPUTS, heads.count, SOURCE, heads.width]
