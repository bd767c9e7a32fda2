"""`int8-static` stays close to float with ranges that were measured on pairs."""

from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.manifest import Task
from tests.compression.quantize.measured import data_files, error, operators


def test_it_stays_close_to_float_and_generates_with_one_embedding(either: Context, tmp_path: Path) -> None:
    options = QuantizeOptions(scheme="int8-static", calibration_samples=10)

    manifest = quantize(either, Task.TRANSLATION, "original", "static", options, data_files(tmp_path))

    assert error(either, manifest, tmp_path) < 0.05
    assert manifest.lineage[-1].parameters["calibration_pairs"] == 10
    assert not operators(either, manifest).keys() & {"MatMulInteger", "DynamicQuantizeLinear"}
    folder = either.store.folder(Task.TRANSLATION, "static")
    rows = read_configuration(folder).vocabulary
    assert (folder / "onnx" / "embedding.data").stat().st_size == rows * 32
    with open_generator(either.store, Task.TRANSLATION, "static") as generator:
        settings = generator.manifest.generation.options(num_beams=2, max_new_tokens=8, min_new_tokens=8)
        [output] = generator.generate([generator.encode("It rained all night.")], settings)
    assert output.output_tokens == 8


def test_calibration_needs_data(context: Context, tmp_path: Path) -> None:
    options = QuantizeOptions(scheme="int8-static")
    none = replace(options, calibration_samples=0)

    with pytest.raises(BadParameters, match="int8-static needs calibration or train data here"):
        quantize(context, Task.TRANSLATION, "original", "static", options)
    with pytest.raises(BadParameters, match="out of range: calibration samples"):
        quantize(context, Task.TRANSLATION, "original", "static", none, data_files(tmp_path))

    assert context.store.variants(Task.TRANSLATION) == ["original"]
