"""Cuts to plans by which layers differ: the right parts go, and what comes out loads, exports and is cut again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slimseq.compression.artifacts.publish import write_model
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model, load_model
from slimseq.compression.prune.cut_to_plan import cut_to_plan
from slimseq.compression.prune.layer_plan import LayerPlan, whole_plan
from slimseq.compression.prune.layers import keep_layers
from slimseq.compression.prune.model_shapes import is_varied
from slimseq.compression.prune.rebuild import rebuild
from slimseq.inference.graphs.cross_attention_cache import (
    CrossAttentionCache,
    FloatCrossAttentionCache,
    LongCrossAttentionCache,
)
from slimseq.inference.models.configuration import read_json
from tests.compression.varied import drawn_parts, silence_others, varied, varied_plan
from tests.inference.graphs.stepwise import largest_differences
from tests.inference.graphs.test_related_models import RELATED, STUDENTS, model_of

T5_NAMES = ("T5, relu, tied", "T5, gated gelu, untied")
BART_NAMES = ("BART, gelu", "BART, gelu_new, untied")
NAMES = (*RELATED, *STUDENTS, *T5_NAMES, *BART_NAMES)
IDS = torch.tensor([[5, 9, 17, 30, 8, 1, 12, 3]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, decoder_input_ids=IDS).logits
    return found


def uniform_plan(model: Any, heads: int | None = None, feed_forward: int | None = None) -> LayerPlan:
    """A plan by which all layers have the same sizes."""
    sizes = {} if feed_forward is None else {"feed_forward": feed_forward}

    def planned(layer: Any) -> Any:
        layer = replace(layer, **sizes)
        if heads is None:
            return layer
        names = [name for name in ("heads", "cross_heads") if getattr(layer, name) is not None]
        return replace(layer, **dict.fromkeys(names, heads))

    whole = whole_plan(model)
    return LayerPlan(*(tuple(map(planned, layers)) for layers in whole.stacks.values()))


@pytest.mark.parametrize("name", NAMES)
def test_to_cut_what_adds_nothing_changes_no_logits(name: str) -> None:
    model = model_of(name)
    plan = varied_plan(model)
    kept = drawn_parts(model, plan)
    silence_others(model, kept, list(kept))
    before, state = logits(model), {key: value.clone() for key, value in model.state_dict().items()}

    cut = cut_to_plan(model, plan, kept)

    assert torch.allclose(logits(cut), before, atol=1e-5)
    assert cut.num_parameters() < model.num_parameters()
    assert whole_plan(cut) == plan
    # The given model stays as it is.
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("cache", [FloatCrossAttentionCache(), LongCrossAttentionCache()])
@pytest.mark.parametrize("name", NAMES)
def test_a_written_model_is_loaded_and_its_graphs_compute_the_same(
    name: str, cache: CrossAttentionCache, tmp_path: Path
) -> None:
    cut = varied(model_of(name))
    write_model(cut.float(), tmp_path / "model")

    loaded = load_model(tmp_path / "model")
    differences = largest_differences(loaded, tmp_path, cache)

    assert type(loaded) is type(cut)
    assert read_json(tmp_path / "model" / "config.json")["layer_shapes"] == cut.config.layer_shapes
    assert max(differences.values()) < 1e-4, differences


@pytest.mark.parametrize("name", [*T5_NAMES, "umT5", "BART, gelu", "Marian student"])
def test_layers_that_a_plan_lacks_are_removed(name: str) -> None:
    model = model_of(name)
    plan = varied_plan(model, removes_layers=True)
    kept = drawn_parts(model, plan)

    cut = cut_to_plan(model, plan, kept)

    # The same in two steps: silent parts, then whole layers.
    silence_others(model, kept, list(kept))
    expected = keep_layers(model, plan.kept)
    assert [len(stack.layers) for stack in architecture_of_model(cut).stacks] == list(map(len, plan.stacks.values()))
    assert torch.allclose(logits(cut), logits(expected), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_whose_layers_differ_is_cut_again_by_a_plan_and_by_layers(name: str) -> None:
    first = varied(model_of(name))
    plan = varied_plan(first, removes_layers=True)
    kept = drawn_parts(first, plan, seed=1)
    silence_others(first, kept, list(kept))

    again = cut_to_plan(first, plan, kept)
    fewer = keep_layers(first, plan.kept)

    assert whole_plan(again).record() == {
        stack: [layer | {"layer": index} for index, layer in enumerate(layers)]
        for stack, layers in plan.record().items()
    }
    assert torch.allclose(logits(again), logits(fewer), atol=1e-5)


@pytest.mark.parametrize("name", [*T5_NAMES, "Marian student"])
def test_a_uniform_cut_is_a_plain_model_of_transformers_if_its_configuration_has_the_sizes(name: str) -> None:
    model = model_of(name)
    plan = uniform_plan(model, heads=2, feed_forward=16)

    cut = cut_to_plan(model, plan, drawn_parts(model, plan))

    assert type(cut) is type(model)
    assert not is_varied(cut)
    assert "layer_shapes" not in cut.config.to_dict()


def test_a_bart_with_fewer_channels_is_plain_and_one_with_fewer_heads_is_not() -> None:
    model = model_of("BART, gelu")
    narrow, few_heads = uniform_plan(model, feed_forward=16), uniform_plan(model, heads=2)

    plain = cut_to_plan(model, narrow, drawn_parts(model, narrow))
    other = cut_to_plan(model, few_heads, drawn_parts(model, few_heads))

    assert type(plain) is type(model)
    assert not is_varied(plain)
    assert is_varied(other)
    assert other.config.d_model == model.config.d_model


def test_a_model_that_becomes_uniform_again_is_plain_again() -> None:
    first = varied(model_of("T5, relu, tied"))
    plan = uniform_plan(first, heads=1, feed_forward=16)

    cut = cut_to_plan(first, plan, drawn_parts(first, plan))

    assert type(cut) is type(model_of("T5, relu, tied"))
    assert "layer_shapes" not in cut.config.to_dict()
    assert (cut.config.num_heads, cut.config.d_ff) == (1, 16)


def test_fitted_tensors_take_the_place_of_slices() -> None:
    model = model_of("BART, gelu")
    plan = varied_plan(model)
    kept = drawn_parts(model, plan)
    down = architecture_of_model(model).encoder.layers[0].feed_forward.down
    weight, bias = torch.rand(32, len(kept[down])), torch.rand(32)

    cut = cut_to_plan(model, plan, kept, {f"{down}.weight": weight, f"{down}.bias": bias})

    assert torch.equal(cut.get_parameter(f"{down}.weight"), weight)
    assert torch.equal(cut.get_parameter(f"{down}.bias"), bias)
    with pytest.raises(ValueError, match="after the cut it is"):
        cut_to_plan(model, plan, kept, {f"{down}.weight": weight[:, 1:]})


def test_a_copy_of_a_model_whose_layers_differ_is_like_it() -> None:
    model = varied(model_of("T5, relu, tied"))

    copied = rebuild(model, {}, model.state_dict())

    assert type(copied) is type(model)
    assert torch.equal(logits(copied), logits(model))


def test_layers_that_share_a_position_bias_keep_the_same_heads() -> None:
    model = model_of("T5, relu, tied")
    plan = varied_plan(model)
    kept = drawn_parts(model, plan)
    [first, second] = [layer.attentions[0].output for layer in architecture_of_model(model).encoder.layers]

    with pytest.raises(ValueError, match="all must keep the same heads"):
        cut_to_plan(model, plan, kept | {first: torch.tensor([0, 1, 2]), second: torch.tensor([1, 2, 3])})
    layers = (plan.encoder[0], replace(plan.encoder[1], heads=1))
    with pytest.raises(BadParameters, match="share one relative position bias"):
        cut_to_plan(model, replace(plan, encoder=layers), kept)


def test_parts_that_are_not_as_many_as_the_plan_says_are_refused() -> None:
    model = model_of("BART, gelu")
    plan = varied_plan(model)

    with pytest.raises(ValueError, match="and the plan says 3"):
        cut_to_plan(model, plan, {})


def test_heads_of_two_widths_are_refused() -> None:
    with pytest.raises(BadParameters, match="heads are 4 and 16 channels wide"):
        whole_plan(model_of("BART, stacks that differ"))
