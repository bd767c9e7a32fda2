from pathlib import Path

import pytest
import torch

from compression.training.dropout import dropout_rate
from models_store.manifest import Family
from tests.compression.tiny import tiny_model, tiny_tokenizer


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
