"""Matrices are rounded as ONNX Runtime's own quantizer rounds them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from compression.export.block_embedding import Blocks
from compression.quantization.integer_products import BlockWeights, IntegerWeights, ProductRounder
from compression.quantization.sensitivity import open_session

BLOCKS = BlockWeights(Blocks(bits=8, size=16, is_symmetric=True), accuracy_level=0)
NAMES = ("first", "second")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Two products of one input, one of them by a matrix with an output that is always 0."""
    generator = np.random.default_rng(0)
    matrices = [generator.normal(size=(32, 8)).astype(np.float32) for _ in NAMES]
    matrices[1][:, 3] = 0
    nodes = [helper.make_node("MatMul", ["states", f"{name}.weight"], [name], name=name) for name in NAMES]
    inputs = [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["rows", 32])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 8]) for name in NAMES]
    tensors = [numpy_helper.from_array(values, f"{name}.weight") for name, values in zip(NAMES, matrices, strict=True)]
    made = helper.make_model(
        helper.make_graph(nodes, "two", inputs, outputs, tensors),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )
    onnx.save(made, str(tmp_path / "graph.onnx"))
    return tmp_path / "graph.onnx"


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("reduce_range", [True, False])
def test_integers_and_outputs_are_those_of_the_library(graph: Path, per_channel: bool, reduce_range: bool) -> None:
    quantize_dynamic(
        graph,
        graph.with_name("theirs.onnx"),
        per_channel=per_channel,
        reduce_range=reduce_range,
        weight_type=QuantType.QInt8,
    )
    theirs = onnx.load(graph.with_name("theirs.onnx"))
    ours = onnx.load(graph)

    ProductRounder(ours, graph.parent).round(NAMES, IntegerWeights(per_channel, reduce_range), (), BLOCKS)

    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in theirs.graph.initializer}
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in ours.graph.initializer}
    assert set(found) == set(wanted)
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype and np.array_equal(found[name], wanted[name]), name
    states = np.random.default_rng(1).normal(size=(5, 32)).astype(np.float32)
    outputs = [open_session(model.SerializeToString()).run(NAMES, {"states": states}) for model in (ours, theirs)]
    assert np.array_equal(outputs[0], outputs[1])


def test_only_named_products_are_rounded(graph: Path) -> None:
    model = onnx.load(graph)

    ProductRounder(model, graph.parent).round((), IntegerWeights(True, False), ("second",), BLOCKS)

    assert [node.op_type for node in model.graph.node] == ["MatMul", "MatMulNBits"]
    open_session(model.SerializeToString())
