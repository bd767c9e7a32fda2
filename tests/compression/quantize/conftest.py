"""Fixtures of the quantization tests: a store with a model of either family, and a small graph with two products."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slimseq.compression.context import Context
from tests.compression.quantize.measured import PRODUCTS
from tests.compression.tiny import tiny_store
from tests.families import Family

INPUT_WIDTH = 32
OUTPUT_WIDTH = 8
# The output of the second product that is always 0.
ZERO_OUTPUT = 3
OPSET = 20
# The version of ONNX's file format that has this operator set.
IR_VERSION = 9


@pytest.fixture(params=list(Family), ids=[family.value for family in Family])
def family_context(request: pytest.FixtureRequest, tmp_path: Path) -> Context:
    """A store with a random `translation/original`, once of each family. The fixture `context` has a BART only."""
    return tiny_store(tmp_path, request.param)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """The file of a graph with two products of one input, one of them with an output that is always 0."""
    generator = np.random.default_rng(0)
    _, second = PRODUCTS
    matrices = {name: generator.normal(size=(INPUT_WIDTH, OUTPUT_WIDTH)).astype(np.float32) for name in PRODUCTS}
    matrices[second][:, ZERO_OUTPUT] = 0

    two_products = helper.make_graph(
        name="two",
        nodes=[helper.make_node("MatMul", ["states", f"{name}.weight"], [name], name=name) for name in PRODUCTS],
        inputs=[helper.make_tensor_value_info("states", TensorProto.FLOAT, ["rows", INPUT_WIDTH])],
        outputs=[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", OUTPUT_WIDTH]) for name in PRODUCTS],
        initializer=[numpy_helper.from_array(values, f"{name}.weight") for name, values in matrices.items()],
    )
    model = helper.make_model(two_products, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    path = tmp_path / "graph.onnx"
    onnx.save(model, str(path))
    return path
