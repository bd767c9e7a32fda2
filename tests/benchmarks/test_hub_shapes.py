from pathlib import Path

import pytest

from benchmarks import hub_shapes
from benchmarks.random_models import HUB_SHAPES, SHAPES, publish_random
from slimseq.compression.models import load_model
from slimseq.models_store.manifest import Task


@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in HUB_SHAPES])
def test_both_operations_are_measured(shape: str, tmp_path: Path) -> None:
    hub_shapes.make(shape, tmp_path)
    found = [hub_shapes.measure(shape, operation, tmp_path) for operation in hub_shapes.LIMIT_SECONDS]

    assert [each["operation"] for each in found] == ["quantize", "prune"]
    assert all(each["seconds"] > 0 and each["peak_bytes"] > 0 and each["imported_bytes"] > 0 for each in found)
    assert found[0]["fp32_bytes"] == found[1]["fp32_bytes"] > 4 * 384 * 32


def test_a_random_model_has_exactly_the_size_of_its_shape(tmp_path: Path) -> None:
    family, width, layers, heads, feed_forward, vocabulary, _ = SHAPES["tiny-t5"]

    store = publish_random("tiny-t5", tmp_path)

    config = load_model(store.folder(Task.TRANSLATION, "original"), "cpu").config
    sizes = (config.d_model, config.num_layers, config.num_decoder_layers, config.num_heads, config.d_ff)
    assert sizes == (width, layers, layers, heads, feed_forward) and config.vocab_size == vocabulary
    assert store.manifest(Task.TRANSLATION, "original").family is family
