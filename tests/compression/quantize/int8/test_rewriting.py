from pathlib import Path

import onnx

from slimseq.compression.quantize.int8.integer_matmuls import Int8Weights
from slimseq.compression.quantize.int8.rewriting import quantize_matmuls
from slimseq.compression.quantize.int8.row_matmuls import RowScales
from slimseq.compression.quantize.teacher_forcing import open_session

WEIGHTS = Int8Weights(reduce_range=False)


def test_only_named_matmuls_are_quantized(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, {"second": WEIGHTS})

    operators = [node.op_type for node in model.graph.node]
    assert operators == ["MatMul", "DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]
    assert {tensor.name for tensor in model.graph.initializer} >= {"first.weight"}
    assert "second.weight" not in {tensor.name for tensor in model.graph.initializer}
    open_session(model.SerializeToString())


def test_matmuls_with_the_same_quantization_share_their_inputs(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, {"first": WEIGHTS, "second": WEIGHTS})

    assert [node.op_type for node in model.graph.node].count("DynamicQuantizeLinear") == 1


def test_contrib_operators_are_declared(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, {"first": RowScales(WEIGHTS)})

    assert [opset.domain for opset in model.opset_import] == ["", "com.microsoft"]
    open_session(model.SerializeToString())
