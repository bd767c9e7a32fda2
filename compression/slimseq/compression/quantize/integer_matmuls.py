"""Products of integers: weights rounded to int8, inputs as they come, with one scale a tensor, or rounded before.

Of inputs as they come, the nodes and values are those that ONNX Runtime's `quantize_dynamic` makes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from slimseq.compression.quantize.block_embedding import DOMAIN
from slimseq.compression.quantize.embedding import LARGEST, QUANTIZED_SUFFIX, SCALE_SUFFIX, Floats, Int8
from slimseq.compression.quantize.rewriting import Rewriting

ZERO_POINT_SUFFIX = "_zero_point"
# 7 bits: two products of them and of 8-bit inputs cannot saturate a sum of 16 bits.
LARGEST_REDUCED = 64


@dataclass(frozen=True)
class IntegerWeights:
    """How weights are rounded: one scale for each output instead of one a matrix; to 7 bits instead of 8."""

    per_channel: bool
    reduce_range: bool

    def add(self, graph: Rewriting, node: NodeProto) -> None:
        """Adds the product, as `How.add` says."""
        states, matrix = node.input
        self.add_product(graph, states, matrix, graph.matrix(matrix), node.name, node.output[0])

    def add_product(self, graph: Rewriting, states: str, matrix: str, weights: Floats, name: str, output: str) -> None:
        """Adds a product.

        Args:
            graph: what to add it to.
            states: the name of its inputs, `(..., inputs)`, float32.
            matrix: what the weights' tensors are named after.
            weights: `(inputs, outputs)`, float32.
            name: what nodes are named after.
            output: the name of the product, `(..., outputs)`, float32.
        """
        quantized, scale, zero_point = graph.once(("integers", states), lambda: _quantized(graph, states))
        integers, scales = round_weights(weights, self)
        names = [matrix + suffix for suffix in (QUANTIZED_SUFFIX, ZERO_POINT_SUFFIX, SCALE_SUFFIX)]
        parts: list[NDArray[Any]] = [integers, np.zeros(scales.shape, dtype=np.int8), scales]
        for tensor, values in zip(names, parts, strict=True):
            graph.tensor(tensor, values)
        node, (product, floats, factor) = (
            f"{name}_quant",
            (f"{output}_{part}" for part in ("integers", "floats", "scales")),
        )
        # In the order in which the runtime knows them as one operator.
        graph.node("MatMulInteger", [quantized, names[0], zero_point, names[1]], node, product)
        graph.node("Cast", [product], f"{node}_cast", floats, to=TensorProto.FLOAT)
        graph.node("Mul", [scale, names[2]], f"{node}_scales_mul", factor)
        graph.node("Mul", [floats, factor], f"{node}_output_scale_mul", output)


@dataclass(frozen=True)
class QuantizedInputs:
    """Names of a product's inputs as integers, of their step and of what stands for 0."""

    integers: str
    step: str
    zero_point: str


def add_quantized_matmul(
    graph: Rewriting,
    inputs: QuantizedInputs,
    node: NodeProto,
    weights: Floats,
    how: IntegerWeights,
    output: str | None = None,
    bias: str = "",
) -> str:
    """Adds a product of inputs that are rounded already.

    Args:
        graph: what to add it to.
        inputs: the inputs, `(..., inputs)`, uint8.
        node: the product by floats, after which nodes and tensors are named.
        weights: `(inputs, outputs)`, float32.
        how: how they are rounded.
        output: the name of the product, after the node where none is given.
        bias: the name of what to add, `(outputs,)`, float32.

    Returns:
        The name of the product, `(..., outputs)`, float32.
    """
    integers, scales = (node.input[1] + suffix for suffix in (QUANTIZED_SUFFIX, SCALE_SUFFIX))
    parts: tuple[NDArray[Any], ...] = round_weights(weights, how)
    for tensor, values in zip((integers, scales), parts, strict=True):
        graph.tensor(tensor, values)
    given = [inputs.integers, integers, inputs.step, scales, inputs.zero_point]
    given += ["", bias] if bias else []
    return graph.node("MatMulIntegerToFloat", given, f"{node.name}_integers", output, domain=DOMAIN)


def round_weights(weights: Floats, how: IntegerWeights) -> tuple[Int8, Floats]:
    """Rounds a matrix symmetrically.

    Args:
        weights: `(inputs, outputs)`, float32.
        how: how.

    Returns:
        Integers like `weights`, int8, and scales, `(outputs,)` or `()`, float32.
    """
    axis = 0 if how.per_channel else None
    largest = np.maximum(weights.max(axis=axis), -weights.min(axis=axis))
    steps = LARGEST_REDUCED if how.reduce_range else LARGEST
    scales = np.asarray(largest.astype(np.float64) / steps)
    scales = np.where(scales < np.finfo(np.float32).tiny, 1, scales).astype(np.float32)
    scaled = weights / scales
    np.rint(scaled, out=scaled)
    return scaled.astype(np.int8), scales


def _quantized(graph: Rewriting, states: str) -> tuple[str, str, str]:
    """Returns the names of a product's inputs as integers, of their scale and of what stands for 0."""
    names = f"{states}_quantized", f"{states}_scale", f"{states}_zero_point"
    graph.add(helper.make_node("DynamicQuantizeLinear", [states], names, name=f"{states}_QuantizeLinear"))
    return names
