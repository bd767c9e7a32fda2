from pathlib import Path

import pytest
import torch

from compression.anatomy import anatomy_of
from compression.importance import measure_importance
from compression.training.batches import one_pass
from compression.training.forward import logits_of
from models_store.manifest import Family
from tests.compression.tiny import tiny_context, tiny_model, tiny_set, tiny_tokenizer


@pytest.mark.parametrize("family", list(Family))
def test_scores_are_those_of_the_definition_without_padding(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    model, dataset = tiny_model(family, tokenizer), tiny_set(tokenizer)
    layer = anatomy_of(model).decoder.layers[1]
    assert layer.cross_attention is not None
    seen: dict[str, list[torch.Tensor]] = {layer.feed_forward.down: [], layer.cross_attention.output: []}
    for name, values in seen.items():
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, values=values: values.append(inputs[0].detach().flatten(0, -2))
        )

    importance = measure_importance(model, dataset, tiny_context(tmp_path))
    for values in seen.values():
        values.clear()
    # Rows alone have no padding.
    for batch in one_pass(dataset, 1, model.config.pad_token_id or 0):
        logits_of(model, batch)
    down, output = layer.feed_forward.down, layer.cross_attention.output
    activations, contexts = torch.cat(seen[down]), torch.cat(seen[output])
    channels = activations.square().mean(0).sqrt() * model.get_parameter(f"{down}.weight").norm(dim=0)
    weight = model.get_parameter(f"{output}.weight")
    heads = [(contexts[:, i : i + 8] @ weight[:, i : i + 8].T).square().sum(1).mean().sqrt() for i in range(0, 32, 8)]

    torch.testing.assert_close(importance.channels[down], channels.detach(), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(importance.heads[output], torch.stack(heads).detach(), rtol=1e-3, atol=1e-6)


def test_every_part_is_scored(tmp_path: Path) -> None:
    for family, attentions in ((Family.T5, 6), (Family.BART, 6)):
        tokenizer = tiny_tokenizer(family, tmp_path / family)
        importance = measure_importance(tiny_model(family, tokenizer), tiny_set(tokenizer), tiny_context(tmp_path))

        assert len(importance.channels) == 4
        assert len(importance.heads) == attentions
        assert (importance.residual is None) == (family is Family.T5)


def test_measuring_leaves_no_hook_behind(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path)
    model = tiny_model(Family.BART, tokenizer)

    measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))

    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
