"""Integer matmuls: int8 weights and inputs with one scale a tensor, dynamic or static.

For dynamic scales the nodes and values are those of ONNX Runtime's `quantize_dynamic`. `row_matmuls` has the matmuls
with one scale a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from slimseq.compression.quantize.int8.activations import StaticScale
from slimseq.compression.quantize.int8.quantize_weights import (
    QUANTIZED_SUFFIX,
    SCALE_SUFFIX,
    Floats,
    Int8,
    quantize_columns,
)
from slimseq.compression.quantize.int8.rewriting import DOMAIN, ZERO_POINT, GraphRewriter

ZERO_POINT_SUFFIX = "_zero_point"


@dataclass(frozen=True)
class Int8Weights:
    """Quantizes weights to int8, or to 7 bits to reduce the range, and inputs with one dynamic scale a tensor."""

    reduce_range: bool

    def quantize(self, matrix: str, weights: Floats, factors: Floats | None = None) -> tuple[Int8, Floats]:
        """Quantizes a matrix by its name, as `quantize_columns` does.

        `weights` are `(inputs, outputs)`, float32, times `factors`, `(inputs,)`, by which the inputs are divided.
        """
        return quantize_columns(weights, self.reduce_range)

    def add(self, graph: GraphRewriter, node: NodeProto) -> None:
        """Replaces a matmul, as `MatmulQuantizer.add` says."""
        states, matrix = node.input
        output = node.output[0]
        quantized, scale, zero_point = graph.once(("integers", states), lambda: _dynamically_quantized(graph, states))
        integers, scales = self.quantize(matrix, graph.matrix(matrix))
        names = [matrix + suffix for suffix in (QUANTIZED_SUFFIX, ZERO_POINT_SUFFIX, SCALE_SUFFIX)]
        parts: list[NDArray[Any]] = [integers, np.zeros(scales.shape, dtype=np.int8), scales]
        for tensor, values in zip(names, parts, strict=True):
            graph.tensor(tensor, values)
        name = f"{node.name}_quant"
        product, floats, factor = (f"{output}_{part}" for part in ("integers", "floats", "scales"))
        # In the order that ONNX Runtime fuses into one operator.
        graph.node("MatMulInteger", [quantized, names[0], zero_point, names[1]], name, product)
        graph.node("Cast", [product], f"{name}_cast", floats, to=TensorProto.FLOAT)
        graph.node("Mul", [scale, names[2]], f"{name}_scales_mul", factor)
        graph.node("Mul", [floats, factor], f"{name}_output_scale_mul", output)


@dataclass(frozen=True)
class QuantizedInputs:
    """The names of a matmul's quantized inputs, of their scale and of their zero point."""

    integers: str
    scale: str
    zero_point: str


def add_quantized_matmul(
    graph: GraphRewriter,
    inputs: QuantizedInputs,
    node: NodeProto,
    weights: Floats,
    how: Int8Weights,
    output: str | None = None,
    bias: str = "",
    factors: Floats | None = None,
) -> str:
    """Adds a matmul of quantized inputs in place of a float one; nodes and tensors are named after that.

    `weights` are `(inputs, outputs)`, float32, and `bias` is the name of one, `(outputs,)`, float32, or empty. Returns
    the name of the outputs, `(..., outputs)`, float32, which None derives from the node.
    """
    integers, scales = (node.input[1] + suffix for suffix in (QUANTIZED_SUFFIX, SCALE_SUFFIX))
    parts: tuple[NDArray[Any], ...] = how.quantize(node.input[1], weights, factors)
    for tensor, values in zip((integers, scales), parts, strict=True):
        graph.tensor(tensor, values)
    given = [inputs.integers, integers, inputs.scale, scales, inputs.zero_point]
    given += ["", bias] if bias else []
    return graph.node("MatMulIntegerToFloat", given, f"{node.name}_integers", output, domain=DOMAIN)


def _dynamically_quantized(graph: GraphRewriter, states: str) -> tuple[str, str, str]:
    """Returns the names of a matmul's quantized inputs, of their scale and of their zero point."""
    names = f"{states}_quantized", f"{states}_scale", f"{states}_zero_point"
    graph.add(helper.make_node("DynamicQuantizeLinear", [states], names, name=f"{states}_QuantizeLinear"))
    return names


@dataclass(frozen=True)
class StaticScales:
    """Quantizes inputs with static scales, by their name, and inputs without one with a dynamic scale."""

    weights: Int8Weights
    scales: Mapping[str, StaticScale]

    def add(self, graph: GraphRewriter, node: NodeProto) -> None:
        """Replaces a matmul, as `MatmulQuantizer.add` says."""
        states, matrix = node.input
        scale = self.scales.get(states)
        if scale is None:
            self.weights.add(graph, node)
            return
        quantized = graph.once(("fixed", states), lambda: _statically_quantized(graph, states, scale))
        weights = graph.matrix(matrix) * scale.factors[:, None]
        bias, output = graph.fuse_bias(node)
        add_quantized_matmul(graph, quantized, node, weights, self.weights, output, bias, scale.factors)


@dataclass(frozen=True)
class StaticQueryScale:
    """Quantizes queries of int8 cross-attention with a static scale."""

    scale: float

    def add(self, graph: GraphRewriter, node: NodeProto) -> None:
        """Replaces `DynamicQuantizeLinear`, as `MatmulQuantizer.add` says."""
        integers, scale, zero_point = node.output
        graph.tensor(scale, np.array(self.scale, dtype=np.float32))
        graph.tensor(zero_point, np.array(ZERO_POINT, dtype=np.uint8))
        graph.node("QuantizeLinear", [node.input[0], scale, zero_point], node.name, integers)


def _statically_quantized(graph: GraphRewriter, states: str, static: StaticScale) -> QuantizedInputs:
    scale, zero_point = graph.number(static.scale), graph.zero_point(ZERO_POINT)
    smoothed = states if (static.factors == 1).all() else _smoothed(graph, states, static.factors)
    integers = graph.node("QuantizeLinear", [smoothed, scale, zero_point], f"{states}_integers")
    return QuantizedInputs(integers, scale, zero_point)


def _smoothed(graph: GraphRewriter, states: str, factors: Floats) -> str:
    """Divides channels by factors: in the weights of the norm before them if only matmuls read its output."""
    name = f"{states}_even"
    norm = graph.scalable_norm(states)
    if norm is None:
        return graph.node("Mul", [states, graph.constant(f"{states}_factors", 1 / factors)], name)
    maker, weights = norm
    node = NodeProto()
    node.CopyFrom(maker)
    node.name = name
    node.output[0] = name
    for index, values in enumerate(weights, start=1):
        node.input[index] = graph.constant(f"{name}_{index}", (values / factors).astype(np.float32))
    graph.add(node)
    return name
