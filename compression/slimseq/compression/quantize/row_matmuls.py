"""Products whose inputs have a scale a row: what one row holds does not coarsen another.

Channels that are the largest of nearly every row may stay in float with their weights: where the same few are, no scale
of a row is fine enough for the others. LLM.int8 (Dettmers et al. 2022, https://arxiv.org/abs/2208.07339) looks for them
in each batch; here they are known before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, numpy_helper

from slimseq.compression.quantize.embedding import Floats
from slimseq.compression.quantize.integer_matmuls import IntegerWeights, QuantizedInputs, add_quantized_matmul
from slimseq.compression.quantize.rewriting import MIDDLE, Rewriting
from slimseq.inference.graphs.cross_attention_cache import INT8_MAX, MIN_ABSOLUTE_MAX, UINT8_MAX


@dataclass(frozen=True)
class _ByRow:
    """What both ways are told.

    Args:
        weights: how weights are rounded.
        large: channels of inputs that stay in float with their weights, by the inputs' name.
    """

    weights: IntegerWeights
    large: Mapping[str, Sequence[int]] = field(default_factory=dict)


class RowInputs(_ByRow):
    """Rounds each row by its own scale; arguments as `_ByRow` has them."""

    def add(self, graph: Rewriting, node: NodeProto) -> None:
        """Adds the product, as `How.add` says."""
        states = node.input[0]
        weights, large, apart = _apart(graph, node, self.large)
        rows = graph.once(("rows", states), lambda: _rounded_rows(graph, states, weights.shape[0], large))
        name = f"{node.name}_rows"
        product = add_quantized_matmul(graph, rows.quantized, node, weights, self.weights)
        product = graph.node("Mul", [product, rows.scale], f"{name}_scaled")
        if large:
            selected = graph.node("Gather", [rows.flat, graph.integers(large)], f"{name}_large", axis=1)
            product = graph.node("Gemm", [selected, apart, product], f"{name}_with_large")
        shape = graph.node("Concat", [rows.leading, graph.integers([weights.shape[1]])], f"{name}_shape", axis=0)
        graph.node("Reshape", [product, shape], f"{name}_back", node.output[0])


class ScaledRows(_ByRow):
    """Divides each row by its largest, rounds all of them by one step, and multiplies the product's rows again.

    By fewer operators than `RowInputs`, which counts where rows are few, which pass over the inputs twice more, which
    counts where rows are many. Arguments as `_ByRow` has them.
    """

    def add(self, graph: Rewriting, node: NodeProto) -> None:
        """Adds the product, as `How.add` says."""
        states = node.input[0]
        weights, large, apart = _apart(graph, node, self.large)
        rows = graph.once(("scaled", states), lambda: _scaled_rows(graph, states, weights.shape[0], large))
        name, output = f"{node.name}_scaled", node.output[0]
        product = add_quantized_matmul(graph, rows.quantized, node, weights, self.weights)
        if not large:
            graph.node("Mul", [product, rows.largest], f"{name}_back", output)
            return
        product = graph.node("Mul", [product, rows.largest], f"{name}_back")
        selected = graph.node("Gather", [states, graph.integers(large)], f"{name}_large", axis=-1)
        selected = graph.node("MatMul", [selected, apart], f"{name}_large_product")
        graph.node("Add", [product, selected], f"{name}_with_large", output)


@dataclass(frozen=True)
class _QuantizedRows:
    """Inputs as integers, and names of them as floats in two dimensions, of their scales and of leading sizes."""

    quantized: QuantizedInputs
    flat: str
    scale: str
    leading: str


@dataclass(frozen=True)
class _Scaled:
    """Inputs whose rows are divided by their largest, as integers, and the name of that."""

    quantized: QuantizedInputs
    largest: str


def _apart(graph: Rewriting, node: NodeProto, large: Mapping[str, Sequence[int]]) -> tuple[Floats, list[int], str]:
    """Returns weights without those of large channels, which these are, and the name of theirs, if there are any."""
    states, matrix = node.input
    weights, channels, name = graph.matrix(matrix), list(large.get(states, ())), f"{matrix}_large"
    if channels:
        graph.tensor(name, weights[channels])
        weights = weights.copy()
        weights[channels] = 0
    return weights, channels, name


def _mask(graph: Rewriting, name: str, width: int, large: Sequence[int]) -> str:
    kept = np.ones(width, dtype=np.float32)
    kept[large] = 0
    return graph.constant(f"{name}_kept", kept)


def _largest(graph: Rewriting, sizes: str, name: str) -> str:
    largest = graph.node("ReduceMax", [sizes, graph.integers([-1])], f"{name}_largest", keepdims=1)
    return graph.node("Max", [largest, graph.number(MIN_ABSOLUTE_MAX)], f"{name}_at_least")


def _reach(is_positive: bool) -> tuple[float, int]:
    """Returns how far integers reach, and what stands for 0."""
    return (UINT8_MAX, 0) if is_positive else (INT8_MAX, MIDDLE)


def _rounded_rows(graph: Rewriting, states: str, width: int, large: Sequence[int]) -> _QuantizedRows:
    name, is_positive = f"{states}_rows", graph.is_positive(states)
    flat = graph.node("Reshape", [states, graph.integers([-1, width])], f"{name}_flat")
    sizes = flat if is_positive else graph.node("Abs", [flat], f"{name}_sizes")
    if large:
        sizes = graph.node("Mul", [sizes, _mask(graph, name, width, large)], f"{name}_kept_sizes")
    most, middle = _reach(is_positive)
    scale = graph.node("Div", [_largest(graph, sizes, name), graph.number(most)], f"{name}_scale")
    steps = graph.node("Reshape", [scale, graph.integers([-1])], f"{name}_steps")
    count = graph.node("Shape", [steps], f"{name}_count")
    value = numpy_helper.from_array(np.array([middle], dtype=np.uint8))
    zeros = graph.node("ConstantOfShape", [count], f"{name}_zeros", value=value)
    integers = graph.node("QuantizeLinear", [flat, steps, zeros], f"{name}_integers", axis=0)
    leading = graph.node("Shape", [states], f"{name}_leading", start=0, end=-1)
    quantized = QuantizedInputs(integers, graph.number(1.0), graph.zero_point(middle))
    return _QuantizedRows(quantized, flat, scale, leading)


def _scaled_rows(graph: Rewriting, states: str, width: int, large: Sequence[int]) -> _Scaled:
    name = f"{states}_rows"
    kept = graph.node("Mul", [states, _mask(graph, name, width, large)], f"{name}_small") if large else states
    is_positive = graph.is_positive(states)
    sizes = kept if is_positive else graph.node("Abs", [kept], f"{name}_sizes")
    largest = _largest(graph, sizes, name)
    scaled = graph.node("Div", [kept, largest], f"{name}_scaled")
    most, middle = _reach(is_positive)
    step, zero_point = graph.number(1 / most), graph.zero_point(middle)
    integers = graph.node("QuantizeLinear", [scaled, step, zero_point], f"{name}_integers")
    return _Scaled(QuantizedInputs(integers, step, zero_point), largest)
