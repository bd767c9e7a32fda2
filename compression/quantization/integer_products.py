"""Rewrites products by constant matrices for integer kernels, reading one matrix at a time from the data file.

The nodes and values are those that ONNX Runtime's `quantize_dynamic` and `MatMulNBitsQuantizer` make, which hold the
whole graph in float several times over while they do.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from compression.export.block_embedding import DOMAIN, Blocks, round_rows
from compression.export.embedding import LARGEST, QUANTIZED_SUFFIX, SCALE_SUFFIX, Floats, Int8
from models_store.graphs.external import array_of

ZERO_POINT_SUFFIX = "_zero_point"
# 7 bits and a sign: two products of them and of 8-bit inputs cannot saturate a sum of 16 bits.
LARGEST_REDUCED = 64


@dataclass(frozen=True)
class IntegerWeights:
    """How weights are rounded: one scale for each output instead of one a matrix; to 7 bits instead of 8."""

    per_channel: bool
    reduce_range: bool


@dataclass(frozen=True)
class BlockWeights:
    """How weights are rounded in blocks, and the kernel's `accuracy_level`, where 0 leaves the choice to it."""

    blocks: Blocks
    accuracy_level: int


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


class ProductRounder:
    """Rewrites one graph.

    Args:
        model: the graph, changed in place; its large tensors may be in a file.
        folder: where that file is.
    """

    def __init__(self, model: ModelProto, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._inputs: dict[str, tuple[str, str, str]] = {}
        self._nodes: list[NodeProto] = []
        self._replaced: set[str] = set()

    def round(
        self, integers: Collection[str], weights: IntegerWeights, in_blocks: Collection[str], blocks: BlockWeights
    ) -> None:
        """Replaces products by names: with inputs rounded a tensor at a time, or with weights in blocks."""
        graph = self._model.graph
        for node in graph.node:
            if node.name in integers:
                self._add_integers(node, weights)
            elif node.name in in_blocks:
                self._add_blocks(node, blocks)
            else:
                self._nodes.append(node)
        del graph.node[:]
        graph.node.extend(self._nodes)
        for name in self._replaced:
            graph.initializer.remove(self._tensors[name])
        if in_blocks and all(opset.domain != DOMAIN for opset in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid(DOMAIN, 1))

    def _add_integers(self, node: NodeProto, how: IntegerWeights) -> None:
        states, matrix = node.input
        quantized, scale, zero_point = self._rounded_input(states)
        integers, scales = round_weights(array_of(self._tensors[matrix], self._folder), how)
        names = [matrix + suffix for suffix in (QUANTIZED_SUFFIX, ZERO_POINT_SUFFIX, SCALE_SUFFIX)]
        parts: list[NDArray[Any]] = [integers, np.zeros(scales.shape, dtype=np.int8), scales]
        for name, values in zip(names, parts, strict=True):
            self._add_tensor(name, values)
        output, name = node.output[0], f"{node.name}_quant"
        product, floats, factor = (f"{output}_{part}" for part in ("integers", "floats", "scales"))
        # In the order in which the runtime knows them as one operator.
        self._nodes += [
            helper.make_node("MatMulInteger", [quantized, names[0], zero_point, names[1]], [product], name=name),
            helper.make_node("Cast", [product], [floats], name=f"{name}_cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", [scale, names[2]], [factor], name=f"{name}_scales_mul"),
            helper.make_node("Mul", [floats, factor], [output], name=f"{name}_output_scale_mul"),
        ]
        self._replaced.add(matrix)

    def _rounded_input(self, states: str) -> tuple[str, str, str]:
        """Returns the names of an input's integers, scale and zero point, which all products of it share."""
        if states not in self._inputs:
            self._inputs[states] = (f"{states}_quantized", f"{states}_scale", f"{states}_zero_point")
            name = f"{states}_QuantizeLinear"
            self._nodes.append(helper.make_node("DynamicQuantizeLinear", [states], self._inputs[states], name=name))
        return self._inputs[states]

    def _add_blocks(self, node: NodeProto, how: BlockWeights) -> None:
        states, matrix = node.input
        weights = array_of(self._tensors[matrix], self._folder)
        bits, size = how.blocks.bits, how.blocks.size
        parts = round_rows(weights.T, how.blocks)
        names = [f"{matrix}_Q{bits}", f"{matrix}_scales", f"{matrix}_zero_points"][: len(parts)]
        for name, values in zip(names, parts, strict=True):
            self._add_tensor(name, values)
        attributes = {"K": weights.shape[0], "N": weights.shape[1], "bits": bits, "block_size": size}
        if how.accuracy_level:
            attributes["accuracy_level"] = how.accuracy_level
        name = f"{node.name}_Q{bits}"
        self._nodes.append(
            helper.make_node("MatMulNBits", [states, *names], node.output, name=name, domain=DOMAIN, **attributes)
        )
        self._replaced.add(matrix)

    def _add_tensor(self, name: str, values: NDArray[Any]) -> None:
        # Filled where it stays: a tensor that is made first and added then is held twice.
        tensor = self._model.graph.initializer.add(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape
        )
        tensor.raw_data = values.tobytes()
