from pathlib import Path

import pytest
import torch

from slimseq.compression.train.forward import dropout_rate
from tests.compression.tiny import tiny_model, tiny_tokenizer
from tests.families import Family


@pytest.mark.parametrize("family", list(Family))
def test_without_dropout_training_mode_computes_the_same_every_time(tmp_path: Path, family: Family) -> None:
    model = tiny_model(family, tiny_tokenizer(family, tmp_path))
    ids = torch.tensor([[5, 6, 7, 8]])

    def logits() -> torch.Tensor:
        result: torch.Tensor = model(input_ids=ids, decoder_input_ids=ids).logits
        return result.detach()

    expected = logits()
    model.train()
    with dropout_rate(model, 0.0):
        without = logits()
    again = logits()

    assert torch.equal(without, expected)
    assert not torch.equal(again, expected)


@pytest.mark.parametrize("family", list(Family))
def test_attention_can_stay_without_dropout_while_hidden_states_have_it(tmp_path: Path, family: Family) -> None:
    model = tiny_model(family, tiny_tokenizer(family, tmp_path), encoder_layers=1)
    ids = torch.tensor([[5, 6, 7, 8]])

    def attention_sum() -> torch.Tensor:
        output = model(input_ids=ids, decoder_input_ids=ids, output_attentions=True, use_cache=False)
        sums: torch.Tensor = output.cross_attentions[0].sum(-1)
        return sums.detach()

    model.train()
    with dropout_rate(model, 0.3, is_attention_kept=True):
        first, second = attention_sum(), attention_sum()
        dropped = model(input_ids=ids, decoder_input_ids=ids).logits
        again = model(input_ids=ids, decoder_input_ids=ids).logits

    assert torch.allclose(first, torch.ones_like(first)) and torch.allclose(second, torch.ones_like(second))
    assert not torch.equal(dropped, again)
