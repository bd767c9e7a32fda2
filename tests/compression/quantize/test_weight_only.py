"""The weight-only schemes: close to float, and one embedding for all graphs."""

from pathlib import Path

import onnx
import pytest

from slimseq.compression.context import Context
from slimseq.compression.quantize.options import SchemeName
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.manifest import Task
from tests.compression.quantize.measured import error, operators

WIDTH = 32


@pytest.mark.parametrize("symmetric", [True, False])
def test_fewer_bits_are_farther_from_float(bart: Context, tmp_path: Path, symmetric: bool) -> None:
    errors = {}
    schemes: tuple[SchemeName, ...] = ("int8-weight-only", "int4-weight-only")
    for scheme in schemes:
        options = QuantizeOptions(scheme=scheme, symmetric=symmetric)
        errors[scheme] = error(bart, quantize(bart, Task.TRANSLATION, "original", scheme, options), tmp_path)

    assert errors["int8-weight-only"] < 1e-3
    assert errors["int8-weight-only"] < errors["int4-weight-only"] < 0.2


def test_smaller_blocks_are_closer_to_float(bart: Context, tmp_path: Path) -> None:
    small, large = (
        quantize(
            bart,
            Task.TRANSLATION,
            "original",
            f"blocks-{size}",
            QuantizeOptions(scheme="int4-weight-only", block_size=size),
        )
        for size in (16, 64)
    )

    assert error(bart, small, tmp_path) < error(bart, large, tmp_path)


def test_all_matrices_are_in_blocks_and_activations_in_float(context: Context) -> None:
    manifest = quantize(
        context, Task.TRANSLATION, "original", "int4", QuantizeOptions(scheme="int4-weight-only", block_size=16)
    )

    assert operators(context, manifest) >= {"MatMulNBits", "GatherBlockQuantized"}
    assert not operators(context, manifest) & {"MatMulInteger", "DynamicQuantizeLinear", "DequantizeLinear"}


def test_lookups_and_the_output_projection_read_the_same_bytes(context: Context) -> None:
    manifest = quantize(
        context, Task.TRANSLATION, "original", "int4", QuantizeOptions(scheme="int4-weight-only", symmetric=True)
    )

    folder = context.store.folder(Task.TRANSLATION, manifest.variant) / "onnx"
    graphs = [onnx.load(folder / name, load_external_data=False).graph for name in ("encoder.onnx", "decoder.onnx")]
    places = [
        tuple((entry.key, entry.value) for entry in tensor.external_data)
        for graph in graphs
        for tensor in graph.initializer
        if tensor.external_data
    ]
    rows = read_configuration(context.store.folder(Task.TRANSLATION, "original")).vocabulary
    # Integers and scales, by the encoder's lookup, the decoder's, and the projection.
    assert len(places) == 6 and len(set(places)) == 2
    assert (folder / "embedding.data").stat().st_size == rows * WIDTH // 2 + rows * 4


def test_a_width_that_blocks_do_not_divide_stays_close_to_float(context: Context, tmp_path: Path) -> None:
    options = QuantizeOptions(scheme="int8-weight-only", block_size=64)

    manifest = quantize(context, Task.TRANSLATION, "original", "padded", options)

    assert error(context, manifest, tmp_path) < 1e-3
