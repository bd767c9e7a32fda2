"""Removing layers, and choosing them by the rise of the loss."""

from pathlib import Path

import pytest
import torch

from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.layers import keep_layers, most_important_layers, skipping
from slimseq.compression.train.loss import mean_loss
from tests.compression.prune.test_structure import logits
from tests.compression.tiny import tiny_context, tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("gone", [0, 2])
def test_a_model_without_a_layer_computes_what_one_that_skips_it_does(
    tmp_path: Path, family: Family, gone: int
) -> None:
    model = tiny_model(family, tiny_tokenizer(family, tmp_path), encoder_layers=3, decoder_layers=3)
    kept = [index for index in range(3) if index != gone]

    smaller = keep_layers(model, {"encoder": kept, "decoder": kept})
    with skipping(model, [stack.layers[gone].name for stack in architecture_of_model(model).stacks]):
        skipped = logits(model)

    torch.testing.assert_close(logits(smaller), skipped)
    assert not torch.equal(logits(model), skipped)
    assert smaller.num_parameters() < model.num_parameters()


@pytest.mark.parametrize("family", list(Family))
def test_the_layer_with_the_smallest_rise_in_loss_is_removed_first(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    model = tiny_model(family, tokenizer, encoder_layers=3, decoder_layers=3)
    dataset, context = tiny_set(tokenizer), tiny_context(tmp_path)

    def loss_without(gone: set[int]) -> float:
        smaller = keep_layers(model, {"encoder": sorted({0, 1, 2} - gone), "decoder": [0, 1, 2]})
        return mean_loss(smaller, dataset, context.device, 1024)

    one, two = (most_important_layers(model, dataset, context, {"encoder": keep, "decoder": 3}) for keep in (1, 2))
    alone = [loss_without({index}) for index in range(3)]
    first = alone.index(min(alone))
    pairs = {index: loss_without({first, index}) for index in range(3) if index != first}

    assert two == {"encoder": sorted({0, 1, 2} - {first}), "decoder": [0, 1, 2]}
    assert one["encoder"] == sorted({0, 1, 2} - {first, min(pairs, key=lambda index: pairs[index])})
