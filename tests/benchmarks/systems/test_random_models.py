from pathlib import Path

from benchmarks.systems.random_models import SHAPES, publish_random
from slimseq.compression.models import load_model
from slimseq.models_store.manifest import Task


def test_a_random_model_has_exactly_the_size_of_its_shape(tmp_path: Path) -> None:
    family, width, layers, heads, feed_forward, vocabulary, _ = SHAPES["tiny-t5"]

    store = publish_random("tiny-t5", tmp_path)

    config = load_model(store.folder(Task.TRANSLATION, "original"), "cpu").config
    sizes = (config.d_model, config.num_layers, config.num_decoder_layers, config.num_heads, config.d_ff)
    assert sizes == (width, layers, layers, heads, feed_forward) and config.vocab_size == vocabulary
    assert store.manifest(Task.TRANSLATION, "original").family == family
