from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.importance import measure_importance
from slimseq.compression.prune.layers import LayerOrder
from slimseq.compression.prune.shape import Shape, cut_to, parameter_counter, shape_of
from tests.compression.tiny import tiny_context, tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family

KINDS: list[tuple[Family, dict[str, Any]]] = [
    (Family.T5, {}),
    (Family.T5, {"is_gated": True, "is_tied": False}),
    (Family.BART, {}),
]


@pytest.mark.parametrize(("family", "changes"), KINDS)
@pytest.mark.parametrize("wanted", [{"encoder_layers": 1}, {"decoder_layers": 2, "heads": 3}])
def test_a_shape_is_counted_as_it_is_cut(
    tmp_path: Path, family: Family, changes: dict[str, Any], wanted: dict[str, int]
) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    model = tiny_model(family, tokenizer, encoder_layers=3, decoder_layers=3, **changes)
    shape = replace(shape_of(model), **wanted, encoder_feed_forward=24, decoder_feed_forward=24)
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    order = LayerOrder({"encoder": 3, "decoder": 3}, {"encoder": [1, 0], "decoder": [2, 0]})
    smaller = cut_to(model, shape, importance, order)

    assert shape_of(smaller) == shape
    assert parameter_counter(model)(shape) == smaller.num_parameters() < model.num_parameters()


def test_stacks_of_a_bart_may_differ_in_width(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path)
    model = tiny_model(Family.BART, tokenizer)
    shape = Shape(2, 1, 4, 16, 48)
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    smaller = cut_to(model, shape, importance, LayerOrder({"encoder": 2, "decoder": 2}, {"decoder": [1]}))

    assert (smaller.config.encoder_ffn_dim, smaller.config.decoder_ffn_dim) == (16, 48)
    assert parameter_counter(model)(shape) == smaller.num_parameters()


def test_layers_that_stay_keep_their_own_best_channels(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer, encoder_layers=3)
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))
    shape = replace(shape_of(model), encoder_layers=2, encoder_feed_forward=8, decoder_feed_forward=8)

    smaller = cut_to(model, shape, importance, LayerOrder({"encoder": 3, "decoder": 2}, {"encoder": [1]}))

    before, after = architecture_of_model(model), architecture_of_model(smaller)
    kept = [before.encoder.layers[0], before.encoder.layers[2], *before.decoder.layers]
    for layer, cut in zip(kept, [*after.encoder.layers, *after.decoder.layers], strict=True):
        (up,), (cut_up,) = layer.feed_forward.up, cut.feed_forward.up
        best = importance.channels[layer.feed_forward.down].topk(8).indices.sort().values
        assert smaller.get_parameter(f"{cut_up}.weight").equal(model.get_parameter(f"{up}.weight")[best])
