"""Writes one graph: operators named by the module they compute, constants, and weights by their name in the model."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from slimseq.inference.graphs.data_file import DataFile
from slimseq.inference.models.weights import Floats, Weights

# The first opset with Gelu; its graphs are of intermediate representation 9.
OPSET = 20
IR_VERSION = 9
PRODUCER = "slimseq"
# What a graph computes for another stack than its own, the encoder's for the decoder, is named after this.
CROSS = "cross/"
# Smaller tensors stay in the graph: norms and biases, which are many and weigh nothing.
LARGEST_INSIDE_BYTES = 4096


class GraphBuilder:
    """A graph in the making. Values are known by name, as ONNX has it; every method that makes one returns its name.

    Args:
        name: the graph's name.
        weights: the model's tensors.
        data: where large ones are written.
        root: the prefix of tensor names that node names leave out, such as `model.encoder.`.
    """

    def __init__(self, name: str, weights: Weights, data: DataFile, root: str = "") -> None:
        self._name = name
        self.weights = weights
        self._data = data
        self._root = root
        self._nodes: list[NodeProto] = []
        self._node_names: set[str] = set()
        self._initializers: dict[str, TensorProto] = {}
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._shared: dict[str, str] = {}

    def path(self, module: str) -> str:
        """Returns the start of node names for a module, such as `/block.0/layer.0/SelfAttention/q`."""
        start = "/" if module.startswith(self._root) else f"{CROSS}/"
        return start + re.sub(r"\.(?=\D)", "/", module.removeprefix(self._root))

    def input(self, name: str, dimensions: Sequence[int | str], kind: int = TensorProto.INT64) -> str:
        """Adds an input of the graph."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, dimensions))
        return name

    def output(self, name: str, dimensions: Sequence[int | str], kind: int = TensorProto.FLOAT) -> None:
        """Makes a value an output of the graph."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, dimensions))

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        path: str,
        output: str | Sequence[str] | None = None,
        **attributes: Any,
    ) -> str:
        """Adds an operator, and returns its first output's name.

        Args:
            operator: the operator.
            inputs: names of values.
            path: the module it computes a part of; the node's name is this and the operator, numbered if need be.
            output: the output's name, or one for each; by default a single one, the node's with an ending.
            attributes: the operator's.
        """
        name = unique = f"{path}/{operator}"
        number = 0
        while unique in self._node_names:
            number += 1
            unique = f"{name}_{number}"
        self._node_names.add(unique)
        outputs = [output or f"{unique}_output_0"] if output is None or isinstance(output, str) else list(output)
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=unique, **attributes))
        return outputs[0]

    def once(self, name: str, make: Callable[[], str]) -> str:
        """Returns a value that several layers ask for, made where it is asked for first; it is known by a name."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def integers(self, *values: int) -> str:
        """Returns a constant `(len(values),)`, int64."""
        return self._constant(np.array(values, dtype=np.int64), "integers_" + "_".join(map(str, values)))

    def integer(self, value: int) -> str:
        """Returns a constant scalar, int64."""
        return self._constant(np.array(value, dtype=np.int64), f"integer_{value}")

    def number(self, value: float) -> str:
        """Returns a constant scalar, float32."""
        return self._constant(np.array(value, dtype=np.float32), f"number_{value!r}")

    def table(self, name: str, values: Floats) -> str:
        """Returns a constant that was worked out from weights and is small enough to lie in the graph."""
        return self._constant(values, name)

    def stored(self, name: str, make: Callable[[], Floats]) -> str:
        """Returns a constant that was worked out and is stored once beside the weights, for all graphs."""
        if name not in self._initializers:
            self._initializers[name] = self._data.tensor(name, make)
        return name

    def weight(self, name: str, factor: float = 1.0) -> str:
        """Returns one of the model's tensors, times a factor."""
        return self._weight(name, name, factor, is_transposed=False)

    def matrix(self, name: str, factor: float = 1.0) -> str:
        """Returns a linear layer's matrix as products want it, `(inputs, outputs)`, times a factor."""
        return self._weight(name, f"{name}.transposed", factor, is_transposed=True)

    def _weight(self, source: str, name: str, factor: float, *, is_transposed: bool) -> str:
        if factor != 1.0:
            name += f".times_{factor!r}"

        def read() -> Floats:
            values = self.weights.read(source)
            values = values.T if is_transposed else values
            return values if factor == 1.0 else values * np.float32(factor)

        if name not in self._initializers:
            size = int(np.prod(self.weights.shape(source), dtype=np.int64)) * np.dtype(np.float32).itemsize
            if size > LARGEST_INSIDE_BYTES:
                self._initializers[name] = self._data.tensor(name, read)
            else:
                self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(read()), name)
        return name

    def _constant(self, values: NDArray[Any], name: str) -> str:
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(values, name)
        return name

    def model(self) -> ModelProto:
        """Returns the finished graph."""
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, initializer=list(self._initializers.values())
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name=PRODUCER
        )
