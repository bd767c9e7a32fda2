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


def quantized_by_library(graph: Path, reduce_range: bool) -> ModelProto:
    """Quantizes both matmuls of the fixture `graph` with ONNX Runtime's own quantizer."""
    path = graph.with_name("by_library.onnx")
    quantize_dynamic(graph, path, per_channel=True, reduce_range=reduce_range, weight_type=QuantType.QInt8)
    return onnx.load(path)


def quantized_by_us(graph: Path, reduce_range: bool) -> ModelProto:
    model = onnx.load(graph)
    quantize_matmuls(model, graph.parent, dict.fromkeys(PRODUCTS, Int8Weights(reduce_range)))
    return model


@pytest.mark.parametrize("reduce_range", [True, False])
def test_quantized_weights_and_scales_equal_those_of_onnxruntimes_quantizer(graph: Path, reduce_range: bool) -> None:
    library = quantized_by_library(graph, reduce_range)

    ours = quantized_by_us(graph, reduce_range)

    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in library.graph.initializer}
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in ours.graph.initializer}
    assert set(found) == set(wanted)
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype, name
        assert np.array_equal(found[name], wanted[name]), name


@pytest.mark.parametrize("reduce_range", [True, False])
def test_outputs_equal_those_of_a_graph_of_onnxruntimes_quantizer(graph: Path, reduce_range: bool) -> None:
    library = quantized_by_library(graph, reduce_range)
    states = np.random.default_rng(1).normal(size=(5, WIDTH)).astype(np.float32)

    ours = quantized_by_us(graph, reduce_range)

    wanted = open_session(library.SerializeToString()).run(PRODUCTS, {"states": states})
    found = open_session(ours.SerializeToString()).run(PRODUCTS, {"states": states})
    assert np.array_equal(found, wanted)


# The tests below build graphs with one matmul. Nodes before the matmul turn the input `states` into `read`. The matmul
# multiplies `read` by `matrix` and writes `product`. Further nodes may follow.
WIDTH, OUTPUTS = 32, 8
WEIGHTS = Int8Weights(reduce_range=not has_vnni())
STATES = np.random.default_rng(1).normal(size=(6, WIDTH)).astype(np.float32)
MATRIX = np.random.default_rng(0).normal(size=(WIDTH, OUTPUTS)).astype(np.float32)
GAINS = np.linspace(0.5, 2, WIDTH, dtype=np.float32)
BIAS = np.arange(OUTPUTS, dtype=np.float32)
# One step size for all channels: the largest state becomes 127.
UNIFORM = StaticScale(float(np.abs(STATES).max() / 127), np.ones(WIDTH, dtype=np.float32))
PRODUCT = helper.make_node("MatMul", ["read", "matrix"], ["product"], name="product")
PLAIN = [helper.make_node("Identity", ["states"], ["read"], name="read")]
# Step size of the norms' outputs. The outputs go up to 5.6, and 127 steps to 6.35.
NORM_STEP = 0.05
# Largest allowed differences between quantized and float outputs. Quantization rounds each of 32 inputs by up to half a
# step, and the weights have a standard deviation of 1. A difference is seldom above 6.5 steps, which is four standard
# deviations (4 * sqrt(32 / 12)). That is 0.15 for the step of `UNIFORM`, 0.023. It is 0.67 for the norms: their step
# times the root mean square of the smoothing factors is 0.10. The weights are rounded too, hence the larger numbers.
TOLERANCE = 0.3
NORM_TOLERANCE = 1
NORMS = {
    "layer norm": [helper.make_node("LayerNormalization", ["states", "gains", "shifts"], ["read"], name="norm")],
    "root mean square": [helper.make_node("Mul", ["states", "gains"], ["read"], name="norm")],
}


def model_of(before: Sequence[NodeProto], behind: Sequence[NodeProto] = (), outputs: Sequence[str] = ()) -> ModelProto:
    """Returns a graph with the matmul between nodes `before` and `behind` it. Without `outputs`, it has `product`."""
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


def test_only_named_matmuls_are_quantized(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, {"second": WEIGHTS})

    assert operators(model) == ["MatMul", "DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]
    names = {tensor.name for tensor in model.graph.initializer}
    assert "first.weight" in names
    assert "second.weight" not in names
    open_session(model.SerializeToString())


def test_matmuls_with_the_same_quantization_share_the_quantized_input(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, dict.fromkeys(PRODUCTS, WEIGHTS))

    assert operators(model).count("DynamicQuantizeLinear") == 1
    open_session(model.SerializeToString())


def test_a_matmul_with_row_scales_imports_the_operators_of_onnxruntime(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, {"first": RowScales(WEIGHTS)})

    assert [opset.domain for opset in model.opset_import] == ["", "com.microsoft"]
    open_session(model.SerializeToString())


def test_a_row_does_not_depend_on_others() -> None:
    model = quantized(model_of(PLAIN))
    beside_large = STATES * np.array([1, 1, 1, 100, 1, 1], dtype=np.float32)[:, None]

    alone = run(model)[0]
    together = run(model, beside_large)[0]

    assert np.abs(alone - STATES @ MATRIX).max() < TOLERANCE
    assert np.array_equal(np.delete(alone, 3, 0), np.delete(together, 3, 0))


def test_a_bias_is_fused_into_the_matmul() -> None:
    behind = [helper.make_node("Add", ["bias", "product"], ["sum"], name="sum")]
    model = model_of(PLAIN, behind, ["sum"])

    found = quantized(model, UNIFORM)

    assert operators(found) == ["Identity", "QuantizeLinear", "MatMulIntegerToFloat"]
    assert np.abs(run(found)[0] - run(model)[0]).max() < TOLERANCE


def test_a_bias_is_not_fused_if_the_matmul_has_another_reader() -> None:
    behind = [helper.make_node("Add", ["bias", "product"], ["sum"], name="sum")]
    model = model_of(PLAIN, behind, ["sum", "product"])

    found = quantized(model)

    assert operators(found)[-1] == "Add"
    for output, wanted in zip(run(found), run(model), strict=True):
        assert np.abs(output - wanted).max() < TOLERANCE


@pytest.mark.parametrize("norm", NORMS)
def test_smoothing_factors_go_into_a_norm_that_only_matmuls_read(norm: str) -> None:
    model = model_of(NORMS[norm])
    factors = np.where(np.arange(WIDTH) % 5 == 0, 4, 1).astype(np.float32)

    found = quantized(model, StaticScale(NORM_STEP, factors))

    assert operators(found) == [NORMS[norm][0].op_type, "QuantizeLinear", "MatMulIntegerToFloat"]
    assert np.abs(run(found)[0] - run(model)[0]).max() < NORM_TOLERANCE
    assert "gains" not in {tensor.name for tensor in found.graph.initializer}


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_with_another_reader_is_unchanged(norm: str) -> None:
    model = model_of([*NORMS[norm], helper.make_node("Relu", ["read"], ["other"])], outputs=["product", "other"])
    factors = np.where(np.arange(WIDTH) % 5 == 0, 4, 1).astype(np.float32)

    found = quantized(model, StaticScale(NORM_STEP, factors))

    product, other = run(found)
    assert np.array_equal(other, run(model)[1])
    assert np.abs(product - run(model)[0]).max() < NORM_TOLERANCE


def test_queries_are_quantized_with_a_static_scale() -> None:
    names = ["integers", "step", "zero"]
    behind = [
        helper.make_node("DynamicQuantizeLinear", ["states"], names, name="queries"),
        helper.make_node("DequantizeLinear", names, ["again"], name="again"),
    ]
    model = model_of(PLAIN, behind, ["again"])
    scale = float(np.abs(STATES).max() / 127)

    quantize_matmuls(model, Path(), {"queries": StaticQueryScale(scale)})

    alone = run(model)[0]
    together = run(model, np.concatenate([STATES, 10 * STATES]))[0]
    assert np.abs(alone - STATES).max() <= scale
    assert np.array_equal(alone, together[: len(STATES)])
