"""Products, and attention's queries, whose scales are known before anything is read."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from slimseq.compression.quantize.embedding import Floats
from slimseq.compression.quantize.integer_matmuls import IntegerWeights, QuantizedInputs, add_quantized_matmul
from slimseq.compression.quantize.rewriting import MIDDLE, Rewriting
from slimseq.compression.quantize.static_scales import StaticScale


@dataclass(frozen=True)
class StaticInputs:
    """Rounds inputs by scales that are known, and others as they come.

    Args:
        weights: how weights are rounded, and inputs without a scale.
        scales: by the inputs' name.
    """

    weights: IntegerWeights
    scales: Mapping[str, StaticScale]

    def add(self, graph: Rewriting, node: NodeProto) -> None:
        """Adds the product, as `How.add` says."""
        states, matrix = node.input
        scale = self.scales.get(states)
        if scale is None:
            self.weights.add(graph, node)
            return
        quantized = graph.once(("fixed", states), lambda: _quantized(graph, states, scale))
        weights = graph.matrix(matrix) * scale.factors[:, None]
        bias, output = graph.take_bias(node)
        add_quantized_matmul(graph, quantized, node, weights, self.weights, output, bias)


@dataclass(frozen=True)
class StaticQueries:
    """Rounds queries of integer attention by a step that is known."""

    step: float

    def add(self, graph: Rewriting, node: NodeProto) -> None:
        """Puts known values where a `DynamicQuantizeLinear` would find them, as `How.add` says."""
        integers, step, zero_point = node.output
        graph.tensor(step, np.array(self.step, dtype=np.float32))
        graph.tensor(zero_point, np.array(MIDDLE, dtype=np.uint8))
        graph.node("QuantizeLinear", [node.input[0], step, zero_point], node.name, integers)


def _quantized(graph: Rewriting, states: str, scale: StaticScale) -> QuantizedInputs:
    step, zero_point = graph.number(scale.step), graph.zero_point(MIDDLE)
    even = states if (scale.factors == 1).all() else _even(graph, states, scale.factors)
    integers = graph.node("QuantizeLinear", [even, step, zero_point], f"{states}_integers")
    return QuantizedInputs(integers, step, zero_point)


def _even(graph: Rewriting, states: str, factors: Floats) -> str:
    """Divides channels by factors, within the norm that makes them where nothing else reads what that makes."""
    name = f"{states}_even"
    norm = graph.norm_of(states)
    if norm is None:
        return graph.node("Mul", [states, graph.constant(f"{states}_factors", 1 / factors)], name)
    maker, weights = norm
    node = NodeProto()
    node.CopyFrom(maker)
    node.name = node.output[0] = name
    for place, values in enumerate(weights, start=1):
        node.input[place] = graph.constant(f"{name}_{place}", (values / factors).astype(np.float32))
    graph.add(node)
    return name
