"""Replaces products by constant matrices in a graph, reading one matrix at a time from the data file.

ONNX Runtime's own quantizers hold the whole graph in float several times over while they do.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from slimseq.compression.quantize.block_embedding import DOMAIN
from slimseq.compression.quantize.embedding import Floats
from slimseq.inference.graphs.external import array_of

Made = TypeVar("Made")
# What stands for 0 among unsigned integers, unless nothing is negative.
MIDDLE = 128


class Rewriting:
    """A graph whose nodes are written anew.

    Args:
        model: the graph; its large tensors may be in a file.
        folder: where that file is.
    """

    def __init__(self, model: ModelProto, folder: Path) -> None:
        self._graph = model.graph
        self._folder = folder
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._positive = {output for node in model.graph.node if node.op_type == "Relu" for output in node.output}
        self._made: dict[tuple[str, ...], Any] = {}
        self._nodes: list[NodeProto] = []
        self._readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for value in _read_by(node):
                self._readers.setdefault(value, []).append(node)
        self._makers = {output: node for node in model.graph.node for output in node.output}
        self._outputs = {output.name for output in model.graph.output}
        self._taken: set[str] = set()

    def is_positive(self, value: str) -> bool:
        """Whether nothing in a value can be negative."""
        return value in self._positive

    def matrix(self, name: str) -> Floats:
        """Reads a matrix, which goes where nothing else reads it."""
        return array_of(self._tensors[name], self._folder)

    def norm_of(self, value: str) -> tuple[NodeProto, list[Floats]] | None:
        """Returns what weighs a norm's output that products alone read, and its weights; None for any other value."""
        maker, readers = self._makers.get(value), self._readers.get(value, [])
        if maker is None or maker.op_type not in ("Mul", "LayerNormalization"):
            return None
        if value in self._outputs or any(reader.op_type != "MatMul" for reader in readers):
            return None
        if any(name not in self._tensors for name in maker.input[1:]):
            return None
        return maker, [array_of(self._tensors[name], self._folder) for name in maker.input[1:]]

    def take_bias(self, node: NodeProto) -> tuple[str, str]:
        """Takes over what adds a product's bias, if something does.

        Returns:
            The bias's name, empty where there is none, and that of the sum, or else of the product.
        """
        product = node.output[0]
        readers = self._readers.get(product, [])
        if len(readers) == 1 and readers[0].op_type == "Add" and product not in self._outputs:
            others = [value for value in readers[0].input if value != product]
            if len(others) == 1 and others[0] in self._tensors and len(self._tensors[others[0]].dims) == 1:
                self._taken.add(readers[0].output[0])
                return others[0], readers[0].output[0]
        return "", product

    def add(self, *nodes: NodeProto) -> None:
        """Adds nodes, but for those that were taken over."""
        self._nodes += [node for node in nodes if node.output[0] not in self._taken]

    def node(
        self, operator: str, inputs: Sequence[str], name: str, output: str | None = None, **attributes: Any
    ) -> str:
        """Adds a node with one output, called as the node if nothing else is said, and returns the output's name."""
        self._nodes.append(helper.make_node(operator, inputs, [output or name], name=name, **attributes))
        return output or name

    def number(self, value: float) -> str:
        """Returns the name of a constant, float32."""
        return self.constant(f"number_{value!r}", np.array(value, dtype=np.float32))

    def integers(self, values: Sequence[int]) -> str:
        """Returns the name of constants, int64."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def zero_point(self, value: int) -> str:
        """Returns the name of a constant, uint8."""
        return self.constant(f"zero_point_{value}", np.array(value, dtype=np.uint8))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Adds a tensor unless there is one of that name already."""
        if name not in self._tensors:
            self._tensors[name] = self.tensor(name, values)
        return name

    def tensor(self, name: str, values: NDArray[Any]) -> TensorProto:
        """Adds a tensor."""
        # Filled where it stays: a tensor that is made first and added then is held twice.
        tensor: TensorProto = self._graph.initializer.add(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape
        )
        tensor.raw_data = values.tobytes()
        return tensor

    def once(self, key: tuple[str, ...], make: Callable[[], Made]) -> Made:
        """Returns what was made for a key, which products that share their inputs share too."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def finish(self) -> None:
        """Puts the nodes that are needed into the graph, and takes out tensors that none of them reads."""
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
    """Returns the names of what a node reads, in its own graphs too."""
    inner = [attribute.g for attribute in node.attribute if attribute.type == AttributeProto.GRAPH]
    return {*node.input, *(name for graph in inner for other in graph.node for name in _read_by(other))}


class How(Protocol):
    """How products by constant matrices are rounded."""

    def add(self, graph: Rewriting, node: NodeProto) -> None:
        """Adds what takes the place of a product."""


def round_products(model: ModelProto, folder: Path, products: Mapping[str, How]) -> None:
    """Replaces products.

    Args:
        model: the graph, changed in place; its large tensors may be in a file.
        folder: where that file is.
        products: how each is rounded, by its node's name; others stay as they are.
    """
    graph = Rewriting(model, folder)
    for node in model.graph.node:
        if node.name in products:
            products[node.name].add(graph, node)
        else:
            graph.add(node)
    graph.finish()
    is_known = any(opset.domain == DOMAIN for opset in model.opset_import)
    if not is_known and any(node.domain == DOMAIN for node in model.graph.node):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
