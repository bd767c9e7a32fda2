"""Int8 matmuls: dynamic scales as in ONNX Runtime's quantizer, static scales as precise as their step size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from slimseq.compression.quantize.int8.activations import StaticScale, scale_of
from slimseq.compression.quantize.int8.integer_matmuls import Int8Weights, StaticQueryScale, StaticScales
from slimseq.compression.quantize.int8.quantize_weights import Floats
from slimseq.compression.quantize.int8.rewriting import quantize_matmuls
from slimseq.compression.quantize.int8.row_matmuls import RowScales
from slimseq.compression.quantize.teacher_forcing import open_session
from slimseq.evaluation.host import has_vnni
from tests.compression.quantize.measured import PRODUCTS


@pytest.mark.parametrize("reduce_range", [True, False])
def test_integers_and_outputs_are_those_of_the_library(graph: Path, reduce_range: bool) -> None:
    quantize_dynamic(
        graph, graph.with_name("theirs.onnx"), per_channel=True, reduce_range=reduce_range, weight_type=QuantType.QInt8
    )
    theirs = onnx.load(graph.with_name("theirs.onnx"))
    ours = onnx.load(graph)

    quantize_matmuls(ours, graph.parent, dict.fromkeys(PRODUCTS, Int8Weights(reduce_range)))

    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in theirs.graph.initializer}
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in ours.graph.initializer}
    assert set(found) == set(wanted)
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype, name
        assert np.array_equal(found[name], wanted[name]), name
    states = np.random.default_rng(1).normal(size=(5, 32)).astype(np.float32)
    outputs = [open_session(model.SerializeToString()).run(PRODUCTS, {"states": states}) for model in (ours, theirs)]
    assert np.array_equal(outputs[0], outputs[1])


WIDTH, OUTPUTS = 32, 8
WEIGHTS = Int8Weights(reduce_range=not has_vnni())
STATES = np.random.default_rng(1).normal(size=(6, WIDTH)).astype(np.float32)
MATRIX = np.random.default_rng(0).normal(size=(WIDTH, OUTPUTS)).astype(np.float32)
GAINS = np.linspace(0.5, 2, WIDTH, dtype=np.float32)
BIAS = np.arange(OUTPUTS, dtype=np.float32)
UNIFORM = StaticScale(float(np.abs(STATES).max() / 127), np.ones(WIDTH, dtype=np.float32))
PRODUCT = helper.make_node("MatMul", ["read", "matrix"], ["product"], name="product")
PLAIN = [helper.make_node("Identity", ["states"], ["read"], name="read")]
NORMS = {
    "layer norm": [helper.make_node("LayerNormalization", ["states", "gains", "shifts"], ["read"], name="norm")],
    "root mean square": [helper.make_node("Mul", ["states", "gains"], ["read"], name="norm")],
}


def model_of(before: Sequence[NodeProto], behind: Sequence[NodeProto] = (), outputs: Sequence[str] = ()) -> ModelProto:
    names = outputs or ["product"]
    tensors = {"matrix": MATRIX, "gains": GAINS, "shifts": GAINS - 1, "bias": BIAS}
    graph = helper.make_graph(
        [*before, PRODUCT, *behind],
        "one",
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", None]) for name in names],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(model: ModelProto, states: Floats = STATES) -> list[Floats]:
    found: list[Floats] = open_session(model.SerializeToString()).run(None, {"states": states})
    return found


def quantized(model: ModelProto, scale: StaticScale | None = None) -> ModelProto:
    """Quantizes the matmul; without a scale, with the one of its inputs."""
    if scale is None:
        whole = ModelProto()
        whole.CopyFrom(model)
        whole.graph.output.append(onnx.ValueInfoProto(name="read"))
        scale = scale_of(run(whole)[-1], margin=1.0)
    copy = ModelProto()
    copy.CopyFrom(model)
    quantize_matmuls(copy, Path(), {"product": StaticScales(WEIGHTS, {"read": scale})})
    return copy


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_only_named_matmuls_are_quantized_and_those_of_one_way_share_their_inputs(graph: Path) -> None:
    one, both, rows = (onnx.load(graph) for _ in range(3))

    quantize_matmuls(one, graph.parent, {"second": WEIGHTS})
    quantize_matmuls(both, graph.parent, dict.fromkeys(PRODUCTS, WEIGHTS))
    quantize_matmuls(rows, graph.parent, {"first": RowScales(WEIGHTS)})

    assert operators(one) == ["MatMul", "DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]
    names = {tensor.name for tensor in one.graph.initializer}
    assert "first.weight" in names
    assert "second.weight" not in names
    assert operators(both).count("DynamicQuantizeLinear") == 1
    assert [opset.domain for opset in rows.opset_import] == ["", "com.microsoft"]
    for model in (one, both, rows):
        open_session(model.SerializeToString())


def test_a_row_does_not_depend_on_others() -> None:
    model = quantized(model_of(PLAIN))
    beside_large = STATES * np.array([1, 1, 1, 100, 1, 1], dtype=np.float32)[:, None]

    alone, together = run(model)[0], run(model, beside_large)[0]

    assert np.abs(alone - STATES @ MATRIX).max() < 0.3
    assert np.array_equal(np.delete(alone, 3, 0), np.delete(together, 3, 0))


def test_a_bias_is_fused_into_the_matmul() -> None:
    behind = [helper.make_node("Add", ["bias", "product"], ["sum"], name="sum")]
    model = model_of(PLAIN, behind, ["sum"])

    found = quantized(model, UNIFORM)

    assert operators(found) == ["Identity", "QuantizeLinear", "MatMulIntegerToFloat"]
    assert np.abs(run(found)[0] - run(model)[0]).max() < 0.3


def test_a_bias_is_not_fused_if_the_matmul_has_another_reader() -> None:
    behind = [helper.make_node("Add", ["bias", "product"], ["sum"], name="sum")]
    model = model_of(PLAIN, behind, ["sum", "product"])

    found = quantized(model)

    assert operators(found)[-1] == "Add"
    assert all(np.abs(one - other).max() < 0.3 for one, other in zip(run(found), run(model), strict=True))


@pytest.mark.parametrize("norm", NORMS)
def test_smoothing_factors_go_into_a_norm_that_only_matmuls_read(norm: str) -> None:
    model = model_of(NORMS[norm])
    factors = np.where(np.arange(WIDTH) % 5 == 0, 4, 1).astype(np.float32)

    found = quantized(model, StaticScale(0.05, factors))

    assert operators(found) == [NORMS[norm][0].op_type, "QuantizeLinear", "MatMulIntegerToFloat"]
    assert np.abs(run(found)[0] - run(model)[0]).max() < 1
    assert "gains" not in {tensor.name for tensor in found.graph.initializer}


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_with_another_reader_is_unchanged(norm: str) -> None:
    model = model_of([*NORMS[norm], helper.make_node("Relu", ["read"], ["other"])], outputs=["product", "other"])
    factors = np.where(np.arange(WIDTH) % 5 == 0, 4, 1).astype(np.float32)

    found = quantized(model, StaticScale(0.05, factors))

    product, other = run(found)
    assert np.array_equal(other, run(model)[1])
    assert np.abs(product - run(model)[0]).max() < 1


def test_queries_are_quantized_with_a_static_scale() -> None:
    names = ["integers", "step", "zero"]
    behind = [
        helper.make_node("DynamicQuantizeLinear", ["states"], names, name="queries"),
        helper.make_node("DequantizeLinear", names, ["again"], name="again"),
    ]
    model = model_of(PLAIN, behind, ["again"])
    scale = float(np.abs(STATES).max() / 127)

    quantize_matmuls(model, Path(), {"queries": StaticQueryScale(scale)})

    alone, together = run(model)[0], run(model, np.concatenate([STATES, 10 * STATES]))[0]
    assert np.abs(alone - STATES).max() <= scale
    assert np.array_equal(alone, together[: len(STATES)])
