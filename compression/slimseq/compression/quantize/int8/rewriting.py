"""Replaces constant matmuls in a graph, with one matrix in memory at a time.

`integer_matmuls` and `row_matmuls` have the replacements. ONNX Runtime's own quantizers need several copies of the
whole float graph in memory.

The graph builder does not write the int8 form itself: static activation scales are measured by running the float graph.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from slimseq.compression.quantize.int8.quantize_weights import Floats
from slimseq.inference.graphs.external import array_of

Made = TypeVar("Made")
# The domain of ONNX Runtime's contrib operators.
DOMAIN = "com.microsoft"
# The zero point of uint8 values that may be negative.
ZERO_POINT = 128


class GraphRewriter:
    """Rewrites a graph in place, node by node. Large tensors may be in a data file in a folder."""

    def __init__(self, model: ModelProto, folder: Path) -> None:
        self._graph = model.graph
        self._folder = folder
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._relu_outputs = {output for node in model.graph.node if node.op_type == "Relu" for output in node.output}
        self._made: dict[tuple[str, ...], Any] = {}
        self._nodes: list[NodeProto] = []
        self._readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for value in _read_by(node):
                self._readers.setdefault(value, []).append(node)
        self._makers = {output: node for node in model.graph.node for output in node.output}
        self._outputs = {output.name for output in model.graph.output}
        self._fused: set[str] = set()

    def is_positive(self, value: str) -> bool:
        """Whether a value cannot be negative: the output of a ReLU."""
        return value in self._relu_outputs

    def matrix(self, name: str) -> Floats:
        """Reads a matrix. `finish` removes it from the graph unless another node reads it."""
        return array_of(self._tensors[name], self._folder)

    def scalable_norm(self, value: str) -> tuple[NodeProto, list[Floats]] | None:
        """Returns the node of a norm, and its weights, if only matmuls read its output `value`; else None."""
        maker, readers = self._makers.get(value), self._readers.get(value, [])
        if maker is None or maker.op_type not in ("Mul", "LayerNormalization"):
            return None
        if value in self._outputs or any(reader.op_type != "MatMul" for reader in readers):
            return None
        if any(name not in self._tensors for name in maker.input[1:]):
            return None
        return maker, [array_of(self._tensors[name], self._folder) for name in maker.input[1:]]

    def fuse_bias(self, node: NodeProto) -> tuple[str, str]:
        """Removes the addition of a bias after a matmul, if there is one, so that the caller can fuse it.

        Returns:
            The names of the bias, or an empty string, and of the sum, or else of the matmul's output.
        """
        product = node.output[0]
        readers = self._readers.get(product, [])
        if len(readers) == 1 and readers[0].op_type == "Add" and product not in self._outputs:
            others = [value for value in readers[0].input if value != product]
            if len(others) == 1 and others[0] in self._tensors and len(self._tensors[others[0]].dims) == 1:
                self._fused.add(readers[0].output[0])
                return others[0], readers[0].output[0]
        return "", product

    def add(self, *nodes: NodeProto) -> None:
        """Adds nodes, except those that were fused."""
        self._nodes += [node for node in nodes if node.output[0] not in self._fused]

    def node(
        self, operator: str, inputs: Sequence[str], name: str, output: str | None = None, **attributes: Any
    ) -> str:
        """Adds a node with one output, by default named after the node; returns the output's name."""
        self._nodes.append(helper.make_node(operator, inputs, [output or name], name=name, **attributes))
        return output or name

    def number(self, value: float) -> str:
        """Returns the name of a scalar constant, float32."""
        return self.constant(f"number_{value!r}", np.array(value, dtype=np.float32))

    def integers(self, values: Sequence[int]) -> str:
        """Returns the name of a constant vector, int64."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def zero_point(self, value: int) -> str:
        """Returns the name of a scalar constant, uint8."""
        return self.constant(f"zero_point_{value}", np.array(value, dtype=np.uint8))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Adds a tensor unless one with its name exists; returns the name."""
        if name not in self._tensors:
            self._tensors[name] = self.tensor(name, values)
        return name

    def tensor(self, name: str, values: NDArray[Any]) -> TensorProto:
        """Adds a tensor."""
        # Filled in place: a tensor that is created first and added later is in memory twice.
        tensor: TensorProto = self._graph.initializer.add(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape
        )
        tensor.raw_data = values.tobytes()
        return tensor

    def once(self, key: tuple[str, ...], make: Callable[[], Made]) -> Made:
        """Returns the result of `make`, which is called once for each key: matmuls with the same inputs share nodes."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def finish(self) -> None:
        """Puts the needed nodes into the graph and removes tensors that no node reads."""
        needed, kept = set(self._outputs), []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(_read_by(node))
                kept.append(node)
        del self._graph.node[:]
        self._graph.node.extend(reversed(kept))
        for tensor in [tensor for tensor in self._graph.initializer if tensor.name not in needed]:
            self._graph.initializer.remove(tensor)


def _read_by(node: NodeProto) -> set[str]:
    """Returns the names of the values that a node and its subgraphs read."""
    names = set(node.input)
    for attribute in node.attribute:
        if attribute.type != AttributeProto.GRAPH:
            continue
        for inner in attribute.g.node:
            names |= _read_by(inner)
    return names


class MatmulQuantizer(Protocol):
    """Quantizes constant matmuls, one at a time."""

    def add(self, graph: GraphRewriter, node: NodeProto) -> None:
        """Adds nodes that replace a matmul."""


def quantize_matmuls(model: ModelProto, folder: Path, quantizers: Mapping[str, MatmulQuantizer]) -> None:
    """Replaces matmuls of a graph in place by quantizers, by the node's name. Data files are in the folder."""
    graph = GraphRewriter(model, folder)
    for node in model.graph.node:
        if node.name in quantizers:
            quantizers[node.name].add(graph, node)
        else:
            graph.add(node)
    graph.finish()
    is_known = any(opset.domain == DOMAIN for opset in model.opset_import)
    if not is_known and any(node.domain == DOMAIN for node in model.graph.node):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
