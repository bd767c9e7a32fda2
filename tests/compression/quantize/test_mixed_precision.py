from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.graphs import matmuls_of
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.quantize import quantize
from slimseq.inference.generator import open_generator
from slimseq.inference.graphs.cross_attention_cache import FloatCrossAttentionCache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.models.architecture import OUTPUT_PROJECTION
from slimseq.inference.models.configuration import read_configuration
from slimseq.models_store.manifest import Manifest, Task
from tests.compression.quantize.measured import data_files, error

GROUPS = 2 * 2 + 2 * 3 + 1


def quantized(context: Context, folder: Path, name: str, **options: Any) -> Manifest:
    settings: dict[str, Any] = {"fallback_samples": 8} | options
    chosen = QuantizeOptions(**settings)
    return quantize(context, Task.TRANSLATION, "original", name, chosen, data_files(folder))


def test_every_matmul_is_in_one_part_of_the_model(context: Context, tmp_path: Path) -> None:
    source = context.store.folder(Task.TRANSLATION, "original")

    parts = export_onnx(source, tmp_path / "onnx", FloatCrossAttentionCache(), is_projection_shared=False)

    assert [part.name for part in parts] == [
        *(f"encoder/layer {layer}/{part}" for layer in range(2) for part in ("self-attention", "feed forward")),
        *(
            f"decoder/layer {layer}/{part}"
            for layer in range(2)
            for part in ("self-attention", "cross-attention", "feed forward")
        ),
        OUTPUT_PROJECTION,
    ]
    for graph in ("encoder.onnx", "decoder.onnx"):
        names = [name for part in parts for name in part.matmuls.get(graph, ())]
        assert sorted(names) == sorted(matmuls_of(tmp_path / "onnx" / graph))


def test_a_bound_is_met_with_the_most_sensitive_parts_in_float(context: Context, tmp_path: Path) -> None:
    everything = quantized(context, tmp_path, "all", fallback=1e9).lineage[-1].parameters
    bound = everything["divergence"] / 2

    manifest = quantized(context, tmp_path, "some", fallback=bound)

    found = manifest.lineage[-1].parameters
    ranking = [entry["divergence"] for entry in found["sensitivity"]]
    kept = len(found["in_float"])
    assert everything["in_float"] == []
    assert ranking == sorted(ranking, reverse=True) and len(ranking) == GROUPS
    assert 0 < kept < GROUPS
    assert found["in_float"] == [entry["group"] for entry in found["sensitivity"][:kept]]
    assert found["divergence"] <= bound < found["divergence_without"] == everything["divergence"]
    assert error(context, manifest, tmp_path) < error(
        context, context.store.manifest(Task.TRANSLATION, "all"), tmp_path
    )


def test_a_bound_of_zero_leaves_all_that_matters_in_float_with_one_embedding(context: Context, tmp_path: Path) -> None:
    manifest = quantized(context, tmp_path, "none", fallback=0.0)

    found = manifest.lineage[-1].parameters
    assert found["divergence"] == 0 and OUTPUT_PROJECTION in found["in_float"]
    assert error(context, manifest, tmp_path) < 1e-6
    folder = context.store.folder(Task.TRANSLATION, "none")
    rows = read_configuration(folder).vocabulary
    assert (folder / "onnx" / "embedding.data").stat().st_size == rows * 32 * 4
    with open_generator(context.store, Task.TRANSLATION, "none") as generator:
        options = generator.manifest.generation.options(max_new_tokens=4, min_new_tokens=4)
        [output] = generator.generate([generator.encode("It rained all night.")], options)
    assert output.output_tokens == 4


def test_static_ranges_fall_back_too(bart: Context, tmp_path: Path) -> None:
    everything = quantized(bart, tmp_path, "all", scheme="int8-static", fallback=1e9).lineage[-1].parameters

    manifest = quantized(bart, tmp_path, "some", scheme="int8-static", fallback=everything["divergence"] / 2)

    found = manifest.lineage[-1].parameters
    assert 0 < len(found["in_float"]) < GROUPS
    assert found["divergence"] <= everything["divergence"] / 2


def test_a_fallback_needs_data(bart: Context) -> None:
    with pytest.raises(BadParameters, match="needs dev or calibration data here"):
        quantize(bart, Task.TRANSLATION, "original", "some", QuantizeOptions(fallback=0.1))
