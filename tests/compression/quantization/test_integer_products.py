"""Matrices are rounded as ONNX Runtime's own quantizer rounds them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from compression.export.block_embedding import Blocks
from compression.export.embedding import Floats
from compression.quantization.integer_products import BlockWeights, IntegerWeights, ProductRounder, RowInputs
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

    ProductRounder(ours, graph.parent).round(dict.fromkeys(NAMES, IntegerWeights(per_channel, reduce_range)))

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

    ProductRounder(model, graph.parent).round({"second": BLOCKS})

    assert [node.op_type for node in model.graph.node] == ["MatMul", "MatMulNBits"]
    open_session(model.SerializeToString())


def test_a_row_is_rounded_as_finely_as_its_own_values_allow(graph: Path) -> None:
    rounded = _by_row(graph, {})
    states = np.random.default_rng(1).normal(size=(2, 3, 32)).astype(np.float32)
    beside_large = states * np.array([1, 1, 1000], dtype=np.float32)[:, None]

    alone, together = (rounded(values) for values in (states, beside_large))

    for name in NAMES:
        assert np.abs(alone[name] - _exact(graph, states)[name]).max() < 0.2
        assert np.array_equal(alone[name][:, :2], together[name][:, :2])


def test_channels_that_are_always_large_do_not_coarsen_the_others(graph: Path) -> None:
    states = np.random.default_rng(1).normal(size=(2, 3, 32)).astype(np.float32)
    states[..., [4, 20]] += 300
    wanted = _exact(graph, states)

    errors = [
        max(np.abs(outputs[name] - wanted[name]).max() for name in NAMES)
        for outputs in (_by_row(graph, {})(states), _by_row(graph, {"states": [4, 20]})(states))
    ]

    assert errors[1] < errors[0] / 10


def test_rows_without_a_value_stay_zero(graph: Path) -> None:
    outputs = _by_row(graph, {"states": [4]})(np.zeros((1, 2, 32), dtype=np.float32))

    assert all(np.array_equal(outputs[name], np.zeros((1, 2, 8))) for name in NAMES)


def test_where_nothing_is_negative_all_integers_are_used(graph: Path) -> None:
    """A step is half as long; what is left is the error of the weights."""
    positive = onnx.load(graph)
    for node in positive.graph.node:
        node.input[0] = "positive"
    positive.graph.node.insert(0, helper.make_node("Relu", ["states"], ["positive"], name="relu"))
    onnx.save(positive, str(graph.with_name("positive.onnx")))
    states = np.abs(np.random.default_rng(1).normal(size=(40, 50, 32))).astype(np.float32)
    wanted = _exact(graph, states)["first"]

    errors = [
        np.abs(_by_row(graph.with_name(name), {})(states)["first"] - wanted).std()
        for name in ("graph.onnx", "positive.onnx")
    ]

    assert errors[1] < errors[0] * 0.9


def _by_row(graph: Path, large: dict[str, list[int]]) -> Callable[[Floats], dict[str, Floats]]:
    model = onnx.load(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim.insert(0, onnx.TensorShapeProto.Dimension(dim_param="texts"))
    ProductRounder(model, graph.parent).round(dict.fromkeys(NAMES, RowInputs(IntegerWeights(True, False), large)))
    session = open_session(model.SerializeToString())
    return lambda states: dict(zip(NAMES, session.run(NAMES, {"states": states}), strict=True))


def _exact(graph: Path, states: Floats) -> dict[str, Floats]:
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(graph).graph.initializer}
    return {name: states @ tensors[f"{name}.weight"] for name in NAMES}
