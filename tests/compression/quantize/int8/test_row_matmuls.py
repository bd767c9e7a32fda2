"""Int8 matmuls whose inputs have one scale a row, with outlier channels in float."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from slimseq.compression.quantize.int8.integer_matmuls import Int8Weights
from slimseq.compression.quantize.int8.quantize_weights import Floats
from slimseq.compression.quantize.int8.rewriting import quantize_matmuls
from slimseq.compression.quantize.int8.row_matmuls import NormalizedRows, RowScales
from slimseq.compression.quantize.teacher_forcing import open_session
from slimseq.evaluation.host import has_vnni
from tests.compression.quantize.measured import PRODUCTS

Way = type[RowScales] | type[NormalizedRows]
BOTH = pytest.mark.parametrize("way", [RowScales, NormalizedRows])


@BOTH
def test_each_row_has_its_own_scale(graph: Path, way: Way) -> None:
    quantized = _quantized(graph, way)
    states = np.random.default_rng(1).normal(size=(2, 3, 32)).astype(np.float32)
    beside_large = states * np.array([1, 1, 1000], dtype=np.float32)[:, None]

    alone, together = (quantized(values) for values in (states, beside_large))

    for name in PRODUCTS:
        # Weights have half as many steps where 8 bits would saturate.
        assert np.abs(alone[name] - _exact(graph, states)[name]).max() < (0.2 if has_vnni() else 0.4)
        assert np.array_equal(alone[name][:, :2], together[name][:, :2])


@BOTH
def test_outlier_channels_do_not_reduce_the_precision_of_others(graph: Path, way: Way) -> None:
    states = np.random.default_rng(1).normal(size=(2, 3, 32)).astype(np.float32)
    states[..., [4, 20]] += 300
    wanted = _exact(graph, states)

    errors = [
        max(np.abs(outputs[name] - wanted[name]).max() for name in PRODUCTS)
        for outputs in (_quantized(graph, way)(states), _quantized(graph, way, [4, 20])(states))
    ]

    assert errors[1] < errors[0] / 10


@BOTH
def test_rows_without_a_value_stay_zero(graph: Path, way: Way) -> None:
    outputs = _quantized(graph, way, [4])(np.zeros((1, 2, 32), dtype=np.float32))

    assert all(np.array_equal(outputs[name], np.zeros((1, 2, 8))) for name in PRODUCTS)


def _quantized(
    graph: Path, way: Way, large: Sequence[int] = (), *, reduce_range: bool = not has_vnni()
) -> Callable[[Floats], dict[str, Floats]]:
    """Returns what runs both products, of inputs in three dimensions."""
    model = onnx.load(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim.insert(0, onnx.TensorShapeProto.Dimension(dim_param="texts"))
    how = way(Int8Weights(reduce_range), {"states": large})
    quantize_matmuls(model, graph.parent, dict.fromkeys(PRODUCTS, how))
    session = open_session(model.SerializeToString())
    return lambda states: dict(zip(PRODUCTS, session.run(PRODUCTS, {"states": states}), strict=True))


def _exact(graph: Path, states: Floats) -> dict[str, Floats]:
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(graph).graph.initializer}
    return {name: states @ tensors[f"{name}.weight"] for name in PRODUCTS}
