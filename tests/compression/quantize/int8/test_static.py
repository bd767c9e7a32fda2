from pathlib import Path

import numpy as np
import onnx
import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.options import CalibrationMethod
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.manifest import Task
from tests.compression.quantize.measured import data_files, error, operators


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_every_method_of_calibration_stays_close_to_float(
    bart: Context, tmp_path: Path, method: CalibrationMethod
) -> None:
    options = QuantizeOptions(scheme="int8-static", calibration_method=method, calibration_samples=10)

    manifest = quantize(bart, Task.TRANSLATION, "original", "static", options, data_files(tmp_path))

    assert error(bart, manifest, tmp_path) < 0.05
    assert manifest.lineage[-1].parameters["calibration_pairs"] == 10
    assert not operators(bart, manifest) & {"MatMulInteger", "DynamicQuantizeLinear"}


@pytest.mark.parametrize("symmetric", [True, False])
def test_zero_points_of_activations_are_zero_for_symmetric_ranges(
    bart: Context, tmp_path: Path, symmetric: bool
) -> None:
    options = QuantizeOptions(scheme="int8-static", symmetric=symmetric)

    manifest = quantize(bart, Task.TRANSLATION, "original", "static", options, data_files(tmp_path))

    folder = bart.store.folder(Task.TRANSLATION, manifest.variant) / "onnx"
    graph = onnx.load(folder / "decoder.onnx").graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    points = [tensors[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert points and {point.dtype for point in points} == {np.dtype(np.int8 if symmetric else np.uint8)}
    assert any(point.any() for point in points) is not symmetric


def test_the_embedding_is_stored_once_and_the_artifact_generates(context: Context, tmp_path: Path) -> None:
    quantize(
        context,
        Task.TRANSLATION,
        "original",
        "static",
        QuantizeOptions(scheme="int8-static"),
        data_files(tmp_path),
    )

    folder = context.store.folder(Task.TRANSLATION, "static")
    rows = read_configuration(folder).vocabulary
    assert (folder / "onnx" / "embedding.data").stat().st_size == rows * 32
    with open_generator(context.store, Task.TRANSLATION, "static") as generator:
        options = generator.manifest.generation.options(num_beams=2, max_new_tokens=8, min_new_tokens=8)
        [output] = generator.generate([generator.encode("It rained all night.")], options)
    assert output.output_tokens == 8


def test_calibration_needs_data(bart: Context) -> None:
    with pytest.raises(BadParameters, match="int8-static needs calibration or train data here"):
        quantize(bart, Task.TRANSLATION, "original", "static", QuantizeOptions(scheme="int8-static"))

    assert bart.store.variants(Task.TRANSLATION) == ["original"]
