"""Matrices are rounded as ONNX Runtime's own quantizer rounds them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from slimseq.compression.quantize.integer_matmuls import IntegerWeights
from slimseq.compression.quantize.rewriting import round_products
from slimseq.compression.quantize.sensitivity import open_session
from tests.compression.quantize.measured import PRODUCTS


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

    round_products(ours, graph.parent, dict.fromkeys(PRODUCTS, IntegerWeights(per_channel, reduce_range)))

    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in theirs.graph.initializer}
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in ours.graph.initializer}
    assert set(found) == set(wanted)
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype and np.array_equal(found[name], wanted[name]), name
    states = np.random.default_rng(1).normal(size=(5, 32)).astype(np.float32)
    outputs = [open_session(model.SerializeToString()).run(PRODUCTS, {"states": states}) for model in (ours, theirs)]
    assert np.array_equal(outputs[0], outputs[1])
