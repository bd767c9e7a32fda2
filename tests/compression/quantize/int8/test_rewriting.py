from pathlib import Path

import onnx

from slimseq.compression.quantize.int8.integer_matmuls import Int8Weights
from slimseq.compression.quantize.int8.rewriting import quantize_matmuls
from slimseq.compression.quantize.int8.row_matmuls import RowScales
from slimseq.compression.quantize.teacher_forcing import open_session

WEIGHTS = Int8Weights(per_channel=True, reduce_range=False)


def test_only_named_products_are_rounded(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, {"second": WEIGHTS})

    operators = [node.op_type for node in model.graph.node]
    assert operators == ["MatMul", "DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]
    assert {tensor.name for tensor in model.graph.initializer} >= {"first.weight"}
    assert "second.weight" not in {tensor.name for tensor in model.graph.initializer}
    open_session(model.SerializeToString())


def test_products_that_are_rounded_alike_share_their_inputs(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, {"first": WEIGHTS, "second": WEIGHTS})

    assert [node.op_type for node in model.graph.node].count("DynamicQuantizeLinear") == 1


def test_what_the_runtime_alone_knows_is_declared(graph: Path) -> None:
    model = onnx.load(graph)

    quantize_matmuls(model, graph.parent, {"first": RowScales(WEIGHTS)})

    assert [opset.domain for opset in model.opset_import] == ["", "com.microsoft"]
    open_session(model.SerializeToString())
