"""Heads of BART's relatives: what reads the residual stream, and what makes up for the smaller embedding scale."""

from math import sqrt

import pytest
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration

from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.heads import prune_heads
from slimseq.compression.prune.importance import Importance, residual_readers
from slimseq.compression.prune.rebuild import rebuild
from tests.inference.graphs.test_related_models import BART_SHAPE, RELATED

WIDTH, KEPT = 32, 16


@pytest.mark.parametrize(
    ("name", "norm"), [("mBART", "model.decoder.layer_norm"), ("Marian", "model.decoder.layers.1.final_layer_norm")]
)
def test_a_smaller_width_keeps_the_balance_of_tokens_positions_and_outputs(name: str, norm: str) -> None:
    torch.manual_seed(0)
    kind, configuration, switches = RELATED[name]
    model = kind(configuration(**switches)).eval()
    with torch.no_grad():
        model.get_parameter(f"{norm}.weight").uniform_(0.5, 2)
    architecture = architecture_of_model(model)
    outputs = [each.output for stack in architecture.stacks for layer in stack.layers for each in layer.attentions]
    # The first channels and heads are those that stay.
    order = torch.arange(WIDTH, 0, -1).float()
    importance = Importance({}, dict.fromkeys(outputs, order[:4]), order)

    cut = prune_heads(model, 2, importance).state_dict()

    whole = model.state_dict()
    tokens, positions = "model.shared.weight", "model.encoder.embed_positions.weight"
    before = whole[tokens][:, :KEPT] * sqrt(WIDTH)
    after = cut[tokens] * sqrt(KEPT)
    # A norm behind the sum takes a common factor out; without one there must be none.
    factor = sqrt(KEPT / WIDTH) if architecture.encoder.embedding_norm else 1.0
    assert torch.allclose(after, before * factor)
    assert torch.allclose(cut[positions], whole[positions][:, :KEPT] * factor)
    scores = cut[f"{norm}.weight"] * cut["lm_head.weight"]
    assert torch.allclose(scores, whole[f"{norm}.weight"][:KEPT] * whole["lm_head.weight"][:, :KEPT])


@pytest.mark.parametrize("name", ["mBART", "Marian", "PEGASUS"])
def test_readers_of_the_residual_stream_are_those_that_run(name: str) -> None:
    kind, configuration, switches = RELATED[name]
    model = kind(configuration(**switches)).eval()
    ids = torch.tensor([[5, 6, 7, 2]])
    seen: dict[str, torch.Tensor] = {}
    readers = residual_readers(architecture_of_model(model))
    for norm in readers:
        model.get_submodule(norm).register_forward_hook(lambda _m, _i, output, norm=norm: seen.update({norm: output}))
    for norm, names in readers.items():
        for reader in names:
            model.get_submodule(reader).register_forward_pre_hook(
                lambda _m, inputs, norm=norm: seen.update({f"{norm} is read": inputs[0] - seen[norm]})
            )

    model(input_ids=ids, decoder_input_ids=ids)

    read = {norm: seen[f"{norm} is read"] for norm, names in readers.items() if names}
    assert read
    assert all(difference.count_nonzero() == 0 for difference in read.values())


def test_positions_that_no_state_dict_has_are_computed_again() -> None:
    model = M2M100ForConditionalGeneration(M2M100Config(**BART_SHAPE)).eval()  # type: ignore[no-untyped-call]
    ids = torch.tensor([[5, 6, 7, 2]])

    again = rebuild(model, {}, model.state_dict())

    assert not any("embed_positions" in name for name in model.state_dict())
    assert torch.equal(
        again(input_ids=ids, decoder_input_ids=ids).logits, model(input_ids=ids, decoder_input_ids=ids).logits
    )
