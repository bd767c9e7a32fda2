"""Replaces products by constant matrices in a graph, reading one matrix at a time from the data file.

ONNX Runtime's own quantizers hold the whole graph in float several times over while they do.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from compression.export.block_embedding import DOMAIN
from compression.export.embedding import Floats
from models_store.graphs.external import array_of

Made = TypeVar("Made")


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
        self._replaced: set[str] = set()

    def is_positive(self, value: str) -> bool:
        """Whether nothing in a value can be negative."""
        return value in self._positive

    def matrix(self, name: str) -> Floats:
        """Reads a matrix that something else takes the place of."""
        self._replaced.add(name)
        return array_of(self._tensors[name], self._folder)

    def add(self, *nodes: NodeProto) -> None:
        """Adds nodes."""
        self._nodes += nodes

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
        """Puts the nodes into the graph and takes out the matrices that were read."""
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        for name in self._replaced:
            self._graph.initializer.remove(self._tensors[name])


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
