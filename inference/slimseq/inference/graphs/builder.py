"""Builds one ONNX graph. Nodes are named after the module that they compute, weights after the model's tensors.

`EncoderDecoderGraphs` makes the graphs of all model families with it. `external.DataFile` stores the large tensors.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from slimseq.inference.graphs.external import DataFile
from slimseq.inference.models.safetensors_reader import Floats, SafetensorsReader

# The first opset with Gelu, and the IR version that belongs to it.
OPSET = 20
IR_VERSION = 9
# Prefix of nodes that compute a module outside of the graph's own stack, such as the decoder's cross-attention
# projections in the encoder graph.
CROSS = "cross/"
# Tensors up to this size stay in the graph file: norms and biases.
MAX_INLINE_BYTES = 4096


class GraphBuilder:
    """Builds one graph. Values are identified by name, as in ONNX; methods that make a value return its name.

    `root` is the prefix that is removed from tensor names in node names, such as `model.encoder.`.
    """

    def __init__(self, name: str, weights: SafetensorsReader, data: DataFile, root: str = "") -> None:
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
        """Returns the prefix of a module's node names, such as `/block.0/layer.0/SelfAttention/q`."""
        start = "/" if module.startswith(self._root) else f"{CROSS}/"
        # A point before a number stays: `block.0`.
        return start + re.sub(r"\.(?=\D)", "/", module.removeprefix(self._root))

    def input(self, name: str, dimensions: Sequence[int | str], kind: int = TensorProto.INT64) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, dimensions))
        return name

    def output(self, name: str, dimensions: Sequence[int | str], kind: int = TensorProto.FLOAT) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, kind, dimensions))

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        path: str,
        output: str | Sequence[str] | None = None,
        **attributes: Any,
    ) -> str:
        """Adds an operator and returns the name of its first output.

        The node's name is the module's path and the operator, with a number if that name exists already. `output` is
        the name of the output, or the names of several outputs. Without it, the name is derived from the node's.
        """
        name = self._unique_name(f"{path}/{operator}")
        if output is None:
            outputs = [f"{name}_output_0"]
        elif isinstance(output, str):
            outputs = [output or f"{name}_output_0"]
        else:
            outputs = list(output)
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def _unique_name(self, name: str) -> str:
        """Returns a node's name with a number behind it if another node has it, and takes it."""
        unique = name
        number = 0
        while unique in self._node_names:
            number += 1
            unique = f"{name}_{number}"
        self._node_names.add(unique)
        return unique

    def once(self, name: str, make: Callable[[], str]) -> str:
        """Returns a value that several layers share. `make` is called at the first use of `name`."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def integers(self, *values: int) -> str:
        """Returns a constant `(len(values),)`, int64."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def integer(self, value: int) -> str:
        """Returns a constant scalar, int64."""
        return self.constant(f"integer_{value}", np.array(value, dtype=np.int64))

    def number(self, value: float) -> str:
        """Returns a constant scalar, float32."""
        return self.constant(f"number_{value!r}", np.array(value, dtype=np.float32))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Returns a small computed constant, stored in the graph file."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(values, name)
        return name

    def stored(self, name: str, make: Callable[[], Floats]) -> str:
        """Returns a computed constant that is stored once in the data file, for all graphs."""
        if name not in self._initializers:
            self._initializers[name] = self._data.tensor(name, make)
        return name

    def weight(self, name: str, factor: float = 1.0) -> str:
        """Returns a tensor of the model, times a factor."""
        return self._weight(name, name, factor, is_transposed=False)

    def matrix(self, name: str, factor: float = 1.0) -> str:
        """Returns the transposed matrix of a linear layer, `(inputs, outputs)`, times a factor."""
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
            if size > MAX_INLINE_BYTES:
                self._initializers[name] = self._data.tensor(name, read)
            else:
                self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(read()), name)
        return name

    def model(self) -> ModelProto:
        """Returns the graph that was built."""
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, initializer=list(self._initializers.values())
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="slimseq"
        )
