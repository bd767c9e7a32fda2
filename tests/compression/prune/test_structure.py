"""Cutting feed-forward channels and heads: to remove parts that add nothing changes no logits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from slimseq.compression.artifacts.publish import write_model
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.importance import Importance, measure_importance
from slimseq.compression.prune.prune_options import PruneOptions
from slimseq.compression.prune.structure import Shape, cut_to, kept_channels, shape_of, wanted_shape
from slimseq.compression.train.data.batches import one_pass
from slimseq.compression.train.forward import logits_of, pad_id_of
from tests.compression.tiny import tiny_context, tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family

KINDS: dict[str, tuple[Family, dict[str, int | bool]]] = {
    "t5-relu": (Family.T5, {}),
    "t5-gated-untied": (Family.T5, {"is_gated": True, "is_tied": False}),
    "bart": (Family.BART, {}),
}
IDS = torch.tensor([[5, 9, 17, 30, 8, 1]])


def random_model(kind: str, folder: Path) -> PreTrainedModel:
    family, changes = KINDS[kind]
    return tiny_model(family, tiny_tokenizer(family, folder / "tokenizer"), **changes)


def importance_of(model: PreTrainedModel, folder: Path) -> Importance:
    return measure_importance(model, tiny_set(folder / "tokenizer"), tiny_context(folder))


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(input_ids=IDS, decoder_input_ids=IDS).logits
    return result


def pruned(model: PreTrainedModel, importance: Importance, channels: int, heads: int = 4) -> PreTrainedModel:
    """A model with fewer feed-forward channels, and heads where a number of them is given."""
    whole = shape_of(model)
    shape = replace(whole, heads=heads, encoder_feed_forward=channels, decoder_feed_forward=channels)
    return cut_to(model, shape, importance, {})


def silence(model: PreTrainedModel, name: str, columns: list[int]) -> None:
    """Sets columns of a matrix to 0, so that the channels or heads that they read add nothing."""
    with torch.no_grad():
        model.get_parameter(f"{name}.weight")[:, columns] = 0


@pytest.mark.parametrize("kind", list(KINDS))
def test_removing_silent_channels_changes_nothing(tmp_path: Path, kind: str) -> None:
    model = random_model(kind, tmp_path)
    for number, stack in enumerate(architecture_of_model(model).stacks):
        for index, layer in enumerate(stack.layers):
            start = 3 * number + index
            silence(model, layer.feed_forward.down, list(range(start, start + 40)))
    importance = importance_of(model, tmp_path)

    smaller = pruned(model, importance, 24)

    torch.testing.assert_close(logits(smaller), logits(model), rtol=1e-4, atol=1e-4)
    assert smaller.num_parameters() < model.num_parameters()


@pytest.mark.parametrize("kind", list(KINDS))
def test_feed_forward_that_is_fitted_on_pairs_stays_closer_to_the_whole(tmp_path: Path, kind: str) -> None:
    model = random_model(kind, tmp_path)
    pairs, importance, whole = tiny_set(tmp_path / "tokenizer"), importance_of(model, tmp_path), shape_of(model)
    shape = replace(whole, encoder_feed_forward=16, decoder_feed_forward=16)
    [batch] = one_pass(pairs, 10_000, pad_id_of(model))
    found, wanted = [], logits_of(model, batch).detach()

    for calibration in (None, pairs):
        smaller = cut_to(model, shape, importance, {}, calibration)
        found.append(float((logits_of(smaller, batch).detach() - wanted).square().mean()))

    assert found[1] < 0.9 * found[0]
    torch.testing.assert_close(logits_of(model, batch).detach(), wanted)


@pytest.mark.parametrize("kind", ["t5-relu", "t5-gated-untied"])
def test_removing_silent_heads_of_a_t5_changes_nothing(tmp_path: Path, kind: str) -> None:
    model = random_model(kind, tmp_path)
    for stack in architecture_of_model(model).stacks:
        for index, layer in enumerate(stack.layers):
            silence(model, layer.attentions[0].output, [*range(8), *range(16, 24)])
            if layer.cross_attention is not None:
                silence(model, layer.cross_attention.output, list(range(8 * index, 8 * index + 16)))
    importance = importance_of(model, tmp_path)

    smaller = pruned(model, importance, 64, 2)

    torch.testing.assert_close(logits(smaller), logits(model), rtol=1e-4, atol=1e-4)
    assert (smaller.config.num_heads, smaller.config.d_kv) == (2, 8)


def test_narrowing_a_bart_to_the_half_that_is_read_gives_that_half(tmp_path: Path) -> None:
    narrow = random_model("bart", tmp_path)
    with torch.no_grad():
        for parameter in narrow.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    wide = doubled(narrow)
    importance = importance_of(wide, tmp_path)

    again = pruned(wide, importance, 64, 4)

    assert (again.config.d_model, again.config.encoder_attention_heads) == (32, 4)
    torch.testing.assert_close(logits(again), logits(narrow), rtol=1e-3, atol=1e-3)


def doubled(model: PreTrainedModel) -> PreTrainedModel:
    """Returns a BART twice as wide whose second half of channels repeats the first and is not read by any projection.

    Repeating keeps what the layer norms compute. The second half of the heads adds nothing. Positions make up for
    sqrt(d_model) in front of the token embeddings, which are the output layer too: logits are twice as large.
    """
    config = {"d_model": 64, "encoder_attention_heads": 8, "decoder_attention_heads": 8}
    wide: PreTrainedModel = type(model)(type(model.config).from_dict(model.config.to_dict() | config))
    state = {}
    for name, tensor in model.state_dict().items():
        if "_proj.weight" in name and "out_proj" not in name:
            state[name] = torch.zeros(64, 64)
            state[name][:32, :32] = tensor
        elif "_proj.bias" in name and "out_proj" not in name:
            state[name] = torch.cat([tensor, torch.zeros(32)])
        elif "fc1.weight" in name:
            state[name] = torch.cat([tensor, torch.zeros(64, 32)], dim=1)
        elif "out_proj.weight" in name:
            state[name] = torch.cat([torch.cat([tensor, tensor]), torch.zeros(64, 32)], dim=1)
        elif "fc2.weight" in name or (tensor.dim() == 1 and "fc1" not in name):
            state[name] = torch.cat([tensor, tensor])
        elif "embed_positions" in name:
            state[name] = torch.cat([tensor, tensor], dim=1) * 2**0.5
        elif "fc1.bias" in name or name == "final_logits_bias":
            state[name] = tensor
        else:
            state[name] = torch.cat([tensor, tensor], dim=1)
    wide.load_state_dict(state)
    wide.train(False)
    return wide


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_configuration_says_what_is_there_and_the_folder_loads(tmp_path: Path, kind: str) -> None:
    model = random_model(kind, tmp_path)
    importance = importance_of(model, tmp_path)

    smaller = pruned(model, importance, 40, 3)
    smaller.bfloat16()
    write_model(smaller, tmp_path / "model")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path / "model", dtype=torch.bfloat16, attn_implementation=smaller.config._attn_implementation
    )
    config = loaded.config

    if kind == "bart":
        assert (config.d_model, config.encoder_attention_heads, config.decoder_attention_heads) == (24, 3, 3)
        assert (config.encoder_ffn_dim, config.decoder_ffn_dim) == (40, 40)
    else:
        assert (config.d_ff, config.num_heads, config.d_kv, config.d_model) == (40, 3, 8, 32)
    assert torch.equal(logits(loaded), logits(smaller))


def test_a_share_and_a_number_of_channels_mean_the_same(tmp_path: Path) -> None:
    model = random_model("t5-relu", tmp_path)

    assert kept_channels(model, 0.25) == {"encoder": 16, "decoder": 16}
    assert kept_channels(model, 16) == {"encoder": 16, "decoder": 16}


def test_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    model = random_model("t5-relu", tmp_path)

    for channels in (0.0, -1.0, 2.5, 65.0):
        with pytest.raises(BadParameters, match="--feed-forward"):
            kept_channels(model, channels)
    for heads in (0, 5):
        with pytest.raises(BadParameters, match="of 4 attention heads"):
            pruned(model, importance_of(model, tmp_path), 64, heads)


def test_layers_that_stay_keep_their_own_best_channels(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer, encoder_layers=3)
    importance = measure_importance(model, tiny_set(tokenizer), tiny_context(tmp_path))
    shape = replace(shape_of(model), encoder_layers=2, encoder_feed_forward=8, decoder_feed_forward=8)

    smaller = cut_to(model, shape, importance, {"encoder": [0, 2], "decoder": [0, 1]})

    assert shape_of(smaller) == shape
    before, after = architecture_of_model(model), architecture_of_model(smaller)
    kept = [before.encoder.layers[0], before.encoder.layers[2], *before.decoder.layers]
    for layer, cut in zip(kept, [*after.encoder.layers, *after.decoder.layers], strict=True):
        (up,), (cut_up,) = layer.feed_forward.up, cut.feed_forward.up
        best = importance.channels[layer.feed_forward.down].topk(8).indices.sort().values
        assert smaller.get_parameter(f"{cut_up}.weight").equal(model.get_parameter(f"{up}.weight")[best])


def test_stacks_of_a_bart_may_differ_in_width(tmp_path: Path) -> None:
    model = random_model("bart", tmp_path)
    shape = Shape(2, 1, 4, 16, 48)

    smaller = cut_to(model, shape, importance_of(model, tmp_path), {"encoder": [0, 1], "decoder": [0]})

    assert (smaller.config.encoder_ffn_dim, smaller.config.decoder_ffn_dim) == (16, 48)
    assert shape_of(smaller) == shape


@pytest.mark.parametrize("wrong", [0, 4])
def test_a_number_of_layers_out_of_range_is_refused(tmp_path: Path, wrong: int) -> None:
    model = tiny_model(Family.BART, tiny_tokenizer(Family.BART, tmp_path), encoder_layers=3, decoder_layers=3)

    for stack, options in (
        ("encoder", PruneOptions(encoder_layers=wrong)),
        ("decoder", PruneOptions(decoder_layers=wrong)),
    ):
        with pytest.raises(BadParameters, match=f"cannot keep {wrong} of 3 {stack} layers"):
            wanted_shape(model, options)
