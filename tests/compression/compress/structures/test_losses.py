"""Losses of parts and layers: what a probe measures is what the cut model does, in every family."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from slimseq.compression.compress.structures.losses import divergence, measure_losses
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.choose_parts import choose_parts
from slimseq.compression.prune.cut_to_plan import cut_to_plan
from slimseq.compression.prune.layer_plan import LayerPlan, PlannedLayer, whole_plan
from slimseq.compression.prune.layers import keep_layers
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.evaluation.dataset_files import Example
from tests.compression.tiny import HELD_OUT, tiny_context, tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family


def model_and_pairs(folder: Path, family: Family, layers: int = 2) -> tuple[PreTrainedModel, TrainingSet, TrainingSet]:
    """Returns a random model with clear preferences, calibration pairs, and other pairs to probe."""
    tokenizer = tiny_tokenizer(family, folder / "tokenizer")
    model = tiny_model(family, tokenizer, encoder_layers=layers, decoder_layers=layers)
    with torch.no_grad():
        for layer in architecture_of_model(model).layers:
            attentions = [name for each in layer.attentions for name in (each.value, each.output)]
            for name in (*layer.feed_forward.up, layer.feed_forward.down, *attentions):
                # The outputs of random weights of the usual size hardly depend on the inputs.
                model.get_parameter(f"{name}.weight").mul_(5)
    pairs = tiny_set(tokenizer)
    return model, pairs, pairs.with_examples([Example(*pair) for pair in HELD_OUT])


def with_layer(plan: LayerPlan, stack: str, layer: PlannedLayer) -> LayerPlan:
    """Returns a plan with one layer replaced."""
    stacks = {
        name: tuple(layer if name == stack and each.layer == layer.layer else each for each in layers)
        for name, layers in plan.stacks.items()
    }
    return LayerPlan(**stacks)


@pytest.mark.parametrize("family", list(Family))
def test_a_loss_is_the_divergence_of_the_model_that_is_cut_to_this_level(tmp_path: Path, family: Family) -> None:
    model, calibration, probes = model_and_pairs(tmp_path, family)
    context = tiny_context(tmp_path)

    table = measure_losses(model, calibration, probes, context)

    for stack, changes in (
        ("encoder", {"feed_forward": 16}),
        ("decoder", {"feed_forward": 8}),
        ("decoder", {"cross_heads": 2}),
    ):
        [(kind, kept)] = changes.items()
        plan = whole_plan(model)
        layer = plan.stacks[stack][1]
        smaller = with_layer(plan, stack, PlannedLayer(**{**vars(layer), **changes}))
        cut = cut_to_plan(model, smaller, *choose_parts(model, smaller, calibration, context))
        expected = divergence(model, cut, probes, context)
        assert expected > 0
        assert table.part(stack, 1, kind).loss(kept) == pytest.approx(expected, rel=1e-3)  # type: ignore[arg-type]
    assert table.tokens > 100
    assert len(table.parts) == 2 * 2 + 2 * 3
    for part in table.parts:
        assert part.losses[0] == part.errors[0] == 0
        assert all(before <= after for before, after in pairwise(part.losses))
        assert part.losses[-1] > 0


def test_the_loss_of_a_layer_is_the_divergence_without_it(tmp_path: Path) -> None:
    model, calibration, probes = model_and_pairs(tmp_path, Family.BART, layers=3)
    context = tiny_context(tmp_path)

    table = measure_losses(model, calibration, probes, context)

    for stack in ("encoder", "decoder"):
        removals = table.removals[stack]
        assert len(removals) == 2
        left = [0, 1, 2]
        for removal in removals:
            left.remove(removal.layer)
            kept = {"encoder": [0, 1, 2], "decoder": [0, 1, 2], stack: left}
            expected = divergence(model, keep_layers(model, kept), probes, context)
            assert removal.loss == pytest.approx(expected, rel=1e-3)
        alone = [
            divergence(
                model,
                keep_layers(
                    model,
                    {"encoder": [0, 1, 2], "decoder": [0, 1, 2], stack: [each for each in range(3) if each != gone]},
                ),
                probes,
                context,
            )
            for gone in range(3)
        ]
        assert removals[0].layer == alone.index(min(alone))
        assert removals[0].added == removals[0].loss


def test_the_table_is_the_same_again_and_from_a_cache_and_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model, calibration, probes = model_and_pairs(tmp_path, Family.T5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    first = measure_losses(model, calibration, probes, tiny_context(tmp_path))
    again = [
        measure_losses(model, calibration, probes, tiny_context(tmp_path), cache=tmp_path / "cache") for _ in range(2)
    ]

    assert again == [first, first]
    assert first.shared_heads == ("encoder", "decoder")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_short_time_is_enough_for_a_table_that_has_everything(tmp_path: Path) -> None:
    model, calibration, probes = model_and_pairs(tmp_path, Family.BART)

    whole = measure_losses(model, calibration, probes, tiny_context(tmp_path))
    short = measure_losses(model, calibration, probes, tiny_context(tmp_path), seconds=0.01)

    assert [(part.stack, part.layer, part.kind, part.kept) for part in short.parts] == [
        (part.stack, part.layer, part.kind, part.kept) for part in whole.parts
    ]
    assert 0 < short.tokens < whole.tokens
    assert all(part.losses[-1] > 0 for part in short.parts)
    assert {stack: len(removed) for stack, removed in short.removals.items()} == {"encoder": 1, "decoder": 1}


def test_a_model_diverges_from_itself_by_nothing_and_from_another_by_more(tmp_path: Path) -> None:
    model, pairs, probes = model_and_pairs(tmp_path, Family.BART)
    other = tiny_model(Family.BART, tmp_path / "tokenizer", seed=1)
    context = tiny_context(tmp_path)

    assert abs(divergence(model, model, probes, context)) < 1e-6
    assert divergence(model, other, probes, context) > 0.1
    other.resize_token_embeddings(128)
    with pytest.raises(BadParameters, match="128"):
        divergence(model, other, pairs, context)
