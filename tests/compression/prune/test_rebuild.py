"""A rebuilt model is whole: also what its state dict does not have."""

import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration

from slimseq.compression.prune.rebuild import rebuild
from tests.inference.graphs.test_related_models import BART_SHAPE


def test_positions_that_no_state_dict_has_are_computed_again() -> None:
    model = M2M100ForConditionalGeneration(M2M100Config(**BART_SHAPE)).eval()  # type: ignore[no-untyped-call]
    ids = torch.tensor([[5, 6, 7, 2]])

    again = rebuild(model, {}, model.state_dict())

    assert not any("embed_positions" in name for name in model.state_dict())
    assert torch.equal(
        again(input_ids=ids, decoder_input_ids=ids).logits, model(input_ids=ids, decoder_input_ids=ids).logits
    )
