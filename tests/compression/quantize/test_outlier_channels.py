"""Channels that are the largest of nearly every row are found without data."""

from pathlib import Path

import pytest

from slimseq.compression.quantize.groups import products_of
from slimseq.compression.quantize.outlier_channels import large_channels
from slimseq.compression.quantize.random_inputs import Reading, random_batch
from slimseq.inference.graphs.cross_attention_cache import FloatCrossAttentionCache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.graphs.names import DECODER, ENCODER
from tests.compression.quantize.measured import with_large_channels

LARGE = [3, 11]
NORMS = {ENCODER: "encoder.block.0.layer.1.layer_norm.weight", DECODER: "decoder.block.0.layer.2.layer_norm.weight"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A T5 whose first feed-forward layers read two channels that their norms make large."""
    return with_large_channels(tmp_path, list(NORMS.values()), LARGE)


@pytest.mark.parametrize("graph", NORMS)
def test_channels_that_a_norm_makes_large_are_found(source: Path, tmp_path: Path, graph: str) -> None:
    exported = tmp_path / "exported"
    export_onnx(source, exported, FloatCrossAttentionCache())
    files = sorted(exported.iterdir())
    products = [name for name in products_of(exported / graph) if "DenseReluDense/wi" in name]

    found = large_channels(Reading(exported, graph, random_batch(source)), products)

    assert list(found.values()) == [LARGE]
    assert "block.0" in next(iter(found))
    assert sorted(exported.iterdir()) == files


def test_where_no_product_is_named_nothing_runs(tmp_path: Path, source: Path) -> None:
    assert large_channels(Reading(tmp_path / "nowhere", ENCODER, random_batch(source)), []) == {}
