"""Importance scores: each pruning criterion against its definition."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.importance import measure_importance
from slimseq.compression.prune.prune_options import CriterionName
from slimseq.compression.train.data.batches import one_pass
from slimseq.compression.train.forward import logits_of
from tests.compression.tiny import tiny_context, tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family


@pytest.mark.parametrize("family", list(Family))
def test_scores_are_those_of_the_definition_without_padding(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    model, dataset = tiny_model(family, tokenizer), tiny_set(tokenizer)
    layer = architecture_of_model(model).decoder.layers[1]
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


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("criterion", get_args(CriterionName))
def test_every_part_is_scored_by_every_criterion(tmp_path: Path, family: Family, criterion: CriterionName) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    model = tiny_model(family, tokenizer)

    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path), criterion)

    assert len(importance.channels) == 4
    assert len(importance.heads) == 6
    assert all(scores.shape == (64,) and scores.min() >= 0 for scores in importance.channels.values())
    assert all(scores.shape == (4,) and scores.std() > 0 for scores in importance.heads.values())
    assert (importance.residual is None) == (family is Family.T5)
    if importance.residual is not None:
        assert importance.residual.shape == (32,)
        assert importance.residual.std() > 0
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_magnitude_is_the_norm_of_all_that_a_part_is_made_of(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer, is_gated=True)
    layer = architecture_of_model(model).encoder.layers[0]

    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path), "magnitude")
    weights = {name.removesuffix(".weight"): values for name, values in model.state_dict().items()}
    attention = layer.attentions[0]
    channel = [weights[name][3] for name in layer.feed_forward.up] + [weights[layer.feed_forward.down][:, 3]]
    head = [weights[name][8:16].flatten() for name in (attention.query, attention.key, attention.value)]
    head.append(weights[attention.output][:, 8:16].flatten())

    torch.testing.assert_close(importance.channels[layer.feed_forward.down][3], torch.cat(channel).norm())
    torch.testing.assert_close(importance.heads[attention.output][1], torch.cat(head).norm())
