from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slimseq.compression.context import Context
from tests.compression.quantize.measured import PRODUCTS
from tests.compression.tiny import tiny_store
from tests.families import Family


@pytest.fixture(params=list(Family), ids=[family.value for family in Family])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Context:
    """A store with a random `translation/original` of either family; `context` has a BART."""
    return tiny_store(tmp_path, request.param)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Two products of one input, one of them by a matrix with an output that is always 0."""
    generator = np.random.default_rng(0)
    matrices = [generator.normal(size=(32, 8)).astype(np.float32) for _ in PRODUCTS]
    matrices[1][:, 3] = 0
    nodes = [helper.make_node("MatMul", ["states", f"{name}.weight"], [name], name=name) for name in PRODUCTS]
    inputs = [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["rows", 32])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 8]) for name in PRODUCTS]
    tensors = [
        numpy_helper.from_array(values, f"{name}.weight") for name, values in zip(PRODUCTS, matrices, strict=True)
    ]
    graph = helper.make_graph(nodes, "two", inputs, outputs, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(made, str(tmp_path / "graph.onnx"))
    return tmp_path / "graph.onnx"
