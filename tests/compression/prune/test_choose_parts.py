"""Which heads and channels stay for a plan: better ones than importance alone finds, the same with a cache."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.choose_parts import choose_parts
from slimseq.compression.prune.cut_to_plan import cut_to_plan
from slimseq.compression.prune.layer_plan import LayerPlan, whole_plan
from slimseq.compression.train.data.batches import one_pass
from slimseq.compression.train.forward import logits_of, pad_id_of
from tests.compression.tiny import tiny_context, tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family


def half(plan: LayerPlan) -> LayerPlan:
    """Returns the plan that keeps half of all heads and channels."""
    return LayerPlan(
        **{
            stack: tuple(
                replace(
                    layer,
                    heads=layer.heads and layer.heads // 2,
                    cross_heads=layer.cross_heads and layer.cross_heads // 2,
                    feed_forward=layer.feed_forward // 2,
                )
                for layer in layers
            )
            for stack, layers in plan.stacks.items()
        }
    )


def distance(model: PreTrainedModel, other: PreTrainedModel, folder: Path) -> float:
    """Returns the mean squared difference of the logits on the calibration pairs."""
    [batch] = one_pass(tiny_set(folder), 10_000, pad_id_of(model))
    with torch.no_grad():
        return float((logits_of(model, batch) - logits_of(other, batch)).square().mean())


@pytest.mark.parametrize("family", list(Family))
def test_fitted_weights_bring_the_cut_model_closer_to_the_whole(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path / "tokenizer")
    model, context = tiny_model(family, tokenizer), tiny_context(tmp_path)
    plan = half(whole_plan(model))

    kept, fitted = choose_parts(model, plan, tiny_set(tokenizer), context)

    unfitted = distance(model, cut_to_plan(model, plan, kept), tokenizer)
    assert distance(model, cut_to_plan(model, plan, kept, fitted), tokenizer) < 0.7 * unfitted


def test_of_equal_channels_and_heads_one_each_stays_and_nothing_changes(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    model, context = tiny_model(Family.T5, tokenizer), tiny_context(tmp_path)
    with torch.no_grad():
        for stack in architecture_of_model(model).stacks:
            for layer in stack.layers:
                for up in layer.feed_forward.up:
                    model.get_parameter(f"{up}.weight")[32:] = model.get_parameter(f"{up}.weight")[:32]
                for attention in layer.attentions:
                    for name in (attention.query, attention.key, attention.value):
                        model.get_parameter(f"{name}.weight")[16:] = model.get_parameter(f"{name}.weight")[:16]
            for name in stack.position_biases:
                table = model.get_parameter(f"{name}.weight")
                table[:, 2:] = table[:, :2]
    plan = half(whole_plan(model))

    kept, fitted = choose_parts(model, plan, tiny_set(tokenizer), context)
    cut = cut_to_plan(model, plan, kept, fitted)

    channels = kept[architecture_of_model(model).encoder.layers[0].feed_forward.down]
    assert sorted(int(each) % 32 for each in channels) == list(range(32))
    assert cut.num_parameters() < model.num_parameters()
    assert distance(model, cut, tokenizer) < 1e-4


def test_layers_that_share_a_position_bias_keep_the_same_heads(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    model = tiny_model(Family.T5, tokenizer)

    kept, _ = choose_parts(model, half(whole_plan(model)), tiny_set(tokenizer), tiny_context(tmp_path))

    for stack in architecture_of_model(model).stacks:
        first, second = (kept[attention.output].tolist() for attention in stack.self_attentions)
        assert first == second


def test_what_is_chosen_is_the_same_from_a_cache_and_a_cache_of_other_pairs_is_not_used(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path / "tokenizer")
    model, context, cache = tiny_model(Family.BART, tokenizer), tiny_context(tmp_path), tmp_path / "cache"
    plan, pairs = half(whole_plan(model)), tiny_set(tokenizer)

    without = choose_parts(model, plan, pairs, context)
    choose_parts(model, plan, pairs.first(3), context, cache)
    first = choose_parts(model, plan, pairs, context, cache)
    again = choose_parts(model, plan, pairs, context, cache)

    for found in (first, again):
        for expected, tensors in zip(without, found, strict=True):
            assert expected.keys() == tensors.keys()
            assert all(torch.equal(expected[name], tensors[name]) for name in expected)
    assert len(list(cache.iterdir())) == 2


def test_parts_that_stay_whole_and_layers_that_go_are_not_named(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path / "tokenizer")
    model = tiny_model(Family.BART, tokenizer)
    whole = whole_plan(model)
    plan = LayerPlan(whole.encoder[:1], (replace(whole.decoder[1], cross_heads=3),))

    kept, fitted = choose_parts(model, plan, tiny_set(tokenizer), tiny_context(tmp_path))

    cross = architecture_of_model(model).decoder.layers[1].cross_attention
    assert cross is not None
    assert list(kept) == [cross.output]
    assert set(fitted) == {f"{cross.output}.weight", f"{cross.output}.bias"}
