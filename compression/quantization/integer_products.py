"""Rewrites products by constant matrices for integer kernels, reading one matrix at a time from the data file.

The nodes and values are those that ONNX Runtime's `quantize_dynamic` and `MatMulNBitsQuantizer` make, which hold the
whole graph in float several times over while they do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression.export.block_embedding import DOMAIN, Blocks, round_rows
from compression.export.embedding import LARGEST, QUANTIZED_SUFFIX, SCALE_SUFFIX, Floats, Int8
from models_store.graphs.external import array_of
from models_store.graphs.sources import INT8_MOST, LEAST, UINT8_MOST

ZERO_POINT_SUFFIX = "_zero_point"
# 7 bits and a sign: two products of them and of 8-bit inputs cannot saturate a sum of 16 bits.
LARGEST_REDUCED = 64
# What stands for 0 in a row, unless nothing in it is negative.
MIDDLE = 128


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


@dataclass(frozen=True)
class RowInputs:
    """How weights are rounded where every row of the inputs gets a scale of its own.

    Args:
        weights: how weights are rounded.
        large: channels of inputs that stay in float with their weights, by the inputs' name: where the same few are
            the largest of all rows, no scale of a row is fine enough for the others. LLM.int8 (Dettmers et al. 2022,
            https://arxiv.org/abs/2208.07339) looks for them in each batch; here they are known before.
    """

    weights: IntegerWeights
    large: Mapping[str, Sequence[int]] = field(default_factory=dict)


# Inputs get one scale a tensor; or weights one a block; or inputs one a row.
How = IntegerWeights | BlockWeights | RowInputs


@dataclass(frozen=True)
class _Rows:
    """Names of what stands for inputs whose rows have scales: as floats in two dimensions, as integers, and so on."""

    flat: str
    integers: str
    zero_point: str
    scale: str
    leading: str


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
        self._positive = {output for node in model.graph.node if node.op_type == "Relu" for output in node.output}
        self._inputs: dict[str, tuple[str, str, str]] = {}
        self._rows: dict[str, _Rows] = {}
        self._nodes: list[NodeProto] = []
        self._replaced: set[str] = set()

    def round(self, products: Mapping[str, How]) -> None:
        """Replaces products.

        Args:
            products: how each is rounded, by its node's name; others stay as they are.
        """
        graph = self._model.graph
        for node in graph.node:
            match products.get(node.name):
                case IntegerWeights() as how:
                    self._add_integers(node, how)
                case BlockWeights() as how:
                    self._add_blocks(node, how)
                case RowInputs() as how:
                    self._add_rows(node, how)
                case None:
                    self._nodes.append(node)
        del graph.node[:]
        graph.node.extend(self._nodes)
        for name in self._replaced:
            graph.initializer.remove(self._tensors[name])
        is_known = any(opset.domain == DOMAIN for opset in self._model.opset_import)
        if not is_known and any(node.domain == DOMAIN for node in self._nodes):
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

    def _add_rows(self, node: NodeProto, how: RowInputs) -> None:
        states, matrix = node.input
        weights = array_of(self._tensors[matrix], self._folder)
        large = list(how.large.get(states, ()))
        rows = self._rounded_rows(states, weights.shape[0], large)
        name = f"{node.name}_rows"
        apart = weights[large]
        if large:
            weights = weights.copy()
            weights[large] = 0
        names = [matrix + suffix for suffix in (QUANTIZED_SUFFIX, SCALE_SUFFIX)]
        parts: tuple[NDArray[Any], ...] = round_weights(weights, how.weights)
        for tensor, values in zip(names, parts, strict=True):
            self._add_tensor(tensor, values)
        inputs = [rows.integers, names[0], self._number(1.0), names[1], rows.zero_point]
        product = self._node("MatMulIntegerToFloat", inputs, name, domain=DOMAIN)
        product = self._node("Mul", [product, rows.scale], f"{name}_scaled")
        if large:
            self._add_tensor(f"{matrix}_large", apart)
            selected = self._node("Gather", [rows.flat, self._integers(large)], f"{name}_large", axis=1)
            product = self._node("Gemm", [selected, f"{matrix}_large", product], f"{name}_with_large")
        shape = [rows.leading, self._integers([weights.shape[1]])]
        shape_name = self._node("Concat", shape, f"{name}_shape", axis=0)
        self._nodes.append(helper.make_node("Reshape", [product, shape_name], node.output, name=f"{name}_back"))
        self._replaced.add(matrix)

    def _rounded_rows(self, states: str, width: int, large: Sequence[int]) -> _Rows:
        """Returns what stands for inputs rounded a row at a time, which all products of them share."""
        if states not in self._rows:
            name = f"{states}_rows"
            flat = self._node("Reshape", [states, self._integers([-1, width])], f"{name}_flat")
            sizes = self._node("Abs", [flat], f"{name}_sizes")
            if large:
                kept = np.ones(width, dtype=np.float32)
                kept[large] = 0
                self._add_tensor(f"{name}_kept", kept)
                sizes = self._node("Mul", [sizes, f"{name}_kept"], f"{name}_kept_sizes")
            largest = self._node("ReduceMax", [sizes, self._integers([-1])], f"{name}_largest", keepdims=1)
            largest = self._node("Max", [largest, self._number(LEAST)], f"{name}_at_least")
            is_positive = states in self._positive
            most = UINT8_MOST if is_positive else INT8_MOST
            scale = self._node("Div", [largest, self._number(most)], f"{name}_scale")
            steps = self._node("Reshape", [scale, self._integers([-1])], f"{name}_steps")
            middle = np.array([0 if is_positive else MIDDLE], dtype=np.uint8)
            zero_point = self._constant(f"zero_point_{middle[0]}", middle.reshape(()))
            zeros = self._node(
                "ConstantOfShape",
                [self._node("Shape", [steps], f"{name}_count")],
                f"{name}_zeros",
                value=numpy_helper.from_array(middle),
            )
            integers = self._node("QuantizeLinear", [flat, steps, zeros], f"{name}_integers", axis=0)
            leading = self._node("Shape", [states], f"{name}_leading", start=0, end=-1)
            self._rows[states] = _Rows(flat, integers, zero_point, scale, leading)
        return self._rows[states]

    def _node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _number(self, value: float) -> str:
        return self._constant(f"number_{value!r}", np.array(value, dtype=np.float32))

    def _integers(self, values: Sequence[int]) -> str:
        return self._constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        if name not in self._tensors:
            self._tensors[name] = self._add_tensor(name, values)
        return name

    def _add_tensor(self, name: str, values: NDArray[Any]) -> TensorProto:
        # Filled where it stays: a tensor that is made first and added then is held twice.
        tensor: TensorProto = self._model.graph.initializer.add(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape
        )
        tensor.raw_data = values.tobytes()
        return tensor
