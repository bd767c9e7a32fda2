"""Integer matmuls whose inputs have one dynamic scale a row, so that rows do not influence each other.

Outlier channels may stay in float with their weights, because they would make the scale of a row too coarse for the
other channels. LLM.int8 (Dettmers et al. 2022, https://arxiv.org/abs/2208.07339) finds outlier channels in each batch.
Here they are measured before (`activations.outlier_channels`). `integer_matmuls` has one scale a tensor instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, numpy_helper

from slimseq.compression.quantize.int8.integer_matmuls import Int8Weights, QuantizedInputs, add_quantized_matmul
from slimseq.compression.quantize.int8.quantize_weights import Floats
from slimseq.compression.quantize.int8.rewriting import ZERO_POINT, GraphRewriter
from slimseq.inference.graphs.cross_attention_cache import INT8_MAX, MIN_ABSOLUTE_MAX, UINT8_MAX


@dataclass(frozen=True)
class _PerRow:
    """The fields of both quantizers. `outliers` has the outlier channels by the name of a matmul's inputs."""

    weights: Int8Weights
    outliers: Mapping[str, Sequence[int]] = field(default_factory=dict)


class RowScales(_PerRow):
    """Quantizes each row with its own scale."""

    def add(self, graph: GraphRewriter, node: NodeProto) -> None:
        """Replaces a matmul, as `MatmulQuantizer.add` says."""
        states = node.input[0]
        weights, outliers, outlier_weights = _split_outliers(graph, node, self.outliers)
        rows = graph.once(("rows", states), lambda: _quantized_rows(graph, states, weights.shape[0], outliers))
        name = f"{node.name}_rows"
        product = add_quantized_matmul(graph, rows.quantized, node, weights, self.weights)
        product = graph.node("Mul", [product, rows.scale], f"{name}_scaled")
        if outliers:
            selected = graph.node("Gather", [rows.flat, graph.integers(outliers)], f"{name}_large", axis=1)
            product = graph.node("Gemm", [selected, outlier_weights, product], f"{name}_with_large")
        shape = graph.node("Concat", [rows.leading, graph.integers([weights.shape[1]])], f"{name}_shape", axis=0)
        graph.node("Reshape", [product, shape], f"{name}_back", node.output[0])


class NormalizedRows(_PerRow):
    """Divides each row by its largest value, quantizes all rows with the same scale, and rescales the output rows.

    It has fewer operators than `RowScales`, which is faster for few rows. It reads the inputs two more times, which is
    slower for many rows.
    """

    def add(self, graph: GraphRewriter, node: NodeProto) -> None:
        """Replaces a matmul, as `MatmulQuantizer.add` says."""
        states = node.input[0]
        weights, outliers, outlier_weights = _split_outliers(graph, node, self.outliers)
        key, width = ("scaled", states), weights.shape[0]
        quantized, largest = graph.once(key, lambda: _normalized_rows(graph, states, width, outliers))
        name, output = f"{node.name}_scaled", node.output[0]
        product = add_quantized_matmul(graph, quantized, node, weights, self.weights)
        product = graph.node("Mul", [product, largest], f"{name}_back", None if outliers else output)
        if not outliers:
            return
        selected = graph.node("Gather", [states, graph.integers(outliers)], f"{name}_large", axis=-1)
        selected = graph.node("MatMul", [selected, outlier_weights], f"{name}_large_product")
        graph.node("Add", [product, selected], f"{name}_with_large", output)


@dataclass(frozen=True)
class _QuantizedRows:
    """Quantized rows, and the names of the float rows `(rows, width)`, their scales and the leading dimensions."""

    quantized: QuantizedInputs
    flat: str
    scale: str
    leading: str


def _split_outliers(
    graph: GraphRewriter, node: NodeProto, outliers: Mapping[str, Sequence[int]]
) -> tuple[Floats, list[int], str]:
    """Returns the weights with those of outlier channels set to 0, the channels, and the name of their weights."""
    states, matrix = node.input
    weights, channels, name = graph.matrix(matrix), list(outliers.get(states, ())), f"{matrix}_large"
    if channels:
        graph.tensor(name, weights[channels])
        weights = weights.copy()
        weights[channels] = 0
    return weights, channels, name


def _channel_mask(graph: GraphRewriter, name: str, width: int, outliers: Sequence[int]) -> str:
    mask = np.ones(width, dtype=np.float32)
    mask[outliers] = 0
    return graph.constant(f"{name}_kept", mask)


def _row_maximum(graph: GraphRewriter, sizes: str, name: str) -> str:
    """Adds the largest value of each row, but at least `MIN_ABSOLUTE_MAX`, so that no row is divided by 0."""
    largest = graph.node("ReduceMax", [sizes, graph.integers([-1])], f"{name}_largest", keepdims=1)
    return graph.node("Max", [largest, graph.number(MIN_ABSOLUTE_MAX)], f"{name}_at_least")


def _integer_range(is_positive: bool) -> tuple[float, int]:
    """Returns the largest integer above the zero point, and the zero point."""
    return (UINT8_MAX, 0) if is_positive else (INT8_MAX, ZERO_POINT)


def _quantized_rows(graph: GraphRewriter, states: str, width: int, outliers: Sequence[int]) -> _QuantizedRows:
    name, is_positive = f"{states}_rows", graph.is_positive(states)
    flat = graph.node("Reshape", [states, graph.integers([-1, width])], f"{name}_flat")
    sizes = flat if is_positive else graph.node("Abs", [flat], f"{name}_sizes")
    if outliers:
        sizes = graph.node("Mul", [sizes, _channel_mask(graph, name, width, outliers)], f"{name}_kept_sizes")
    max_integer, zero = _integer_range(is_positive)
    scale = graph.node("Div", [_row_maximum(graph, sizes, name), graph.number(max_integer)], f"{name}_scale")
    scales = graph.node("Reshape", [scale, graph.integers([-1])], f"{name}_steps")
    count = graph.node("Shape", [scales], f"{name}_count")
    value = numpy_helper.from_array(np.array([zero], dtype=np.uint8))
    zeros = graph.node("ConstantOfShape", [count], f"{name}_zeros", value=value)
    integers = graph.node("QuantizeLinear", [flat, scales, zeros], f"{name}_integers", axis=0)
    leading = graph.node("Shape", [states], f"{name}_leading", start=0, end=-1)
    quantized = QuantizedInputs(integers, graph.number(1.0), graph.zero_point(zero))
    return _QuantizedRows(quantized, flat, scale, leading)


def _normalized_rows(
    graph: GraphRewriter, states: str, width: int, outliers: Sequence[int]
) -> tuple[QuantizedInputs, str]:
    """Returns rows quantized after division by their largest absolute value, and the name of that value."""
    name = f"{states}_rows"
    masked, is_positive = states, graph.is_positive(states)
    if outliers:
        masked = graph.node("Mul", [states, _channel_mask(graph, name, width, outliers)], f"{name}_small")
    sizes = masked if is_positive else graph.node("Abs", [masked], f"{name}_sizes")
    largest = _row_maximum(graph, sizes, name)
    scaled = graph.node("Div", [masked, largest], f"{name}_scaled")
    max_integer, zero = _integer_range(is_positive)
    scale, zero_point = graph.number(1 / max_integer), graph.zero_point(zero)
    integers = graph.node("QuantizeLinear", [scaled, scale, zero_point], f"{name}_integers")
    return QuantizedInputs(integers, scale, zero_point), largest
