"""Removes attention heads: alone where the configuration says how wide a head is, else with residual channels."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model, family_of_model
from slimseq.compression.prune.importance import Importance
from slimseq.compression.prune.rebuild import best, cut_inputs, cut_outputs, rebuild
from slimseq.inference.models.architecture import Architecture, Layer, Stack
from slimseq.inference.models.family import ModelFamily

if TYPE_CHECKING:
    from transformers import PreTrainedModel

State = dict[str, torch.Tensor]


def prune_heads(
    model: "PreTrainedModel", keep: int, importance: Importance, takes_over: bool = False
) -> "PreTrainedModel":
    """Returns a model whose attentions keep their most important heads, each as wide as before.

    If the configuration has a key for the width of heads (`d_kv` of T5), nothing else changes. All self-attentions of a
    stack share one relative position bias, with a column for each head. They drop the same heads, ranked by the sum
    over the stack's layers, and the bias drops the columns of these heads.

    In other families (BART and related models) transformers and CTranslate2 compute the width of a head as
    `d_model / heads`. Fewer heads with the same `d_model` would be wider heads, which cannot be cut out of the weights.
    Therefore the width falls with the heads, from `d_model` to `d_model * keep / heads`. The same residual channels
    stay in all layers, since all layers share the residual stream.

    Raises:
        BadParameters: fewer than one or more than all heads are to be kept, or the stacks differ in them.
    """
    architecture = architecture_of_model(model)
    family = family_of_model(model)
    heads, decoder_heads = (stack.attentions[0].heads for stack in architecture.stacks)
    if decoder_heads.count != heads.count:
        raise BadParameters(f"the encoder has {heads.count} heads and the decoder {decoder_heads.count}")
    state = model.state_dict()
    for stack in architecture.stacks:
        _cut_heads(state, stack, keep, importance)
    if not family.has_own_head_width:
        assert importance.residual is not None, "residual channels are scored where they can be cut"
        channels = best(importance.residual, heads.width * keep, "residual channels")
        _cut_width(state, architecture, family, channels)
    return rebuild(model, family.resized(heads=keep, width=keep * heads.width), state, takes_over)


def _cut_heads(state: State, stack: Stack, keep: int, importance: Importance) -> None:
    for layer in stack.layers:
        for attention in layer.attentions:
            scores = importance.heads[attention.output]
            if stack.shares_position_bias and attention is layer.self_attention:
                scores = torch.stack([importance.heads[each.attentions[0].output] for each in stack.layers]).sum(0)
            kept = best(scores, keep, "attention heads")
            rows = rows_of_heads(kept, attention.heads.width)
            for name in (attention.query, attention.key, attention.value):
                cut_outputs(state, name, rows)
            cut_inputs(state, attention.output, rows)
            if attention.position_bias is not None:
                cut_inputs(state, attention.position_bias, kept)


def rows_of_heads(heads: torch.Tensor, width: int) -> torch.Tensor:
    """Returns the rows of a projection that belong to some heads, `(heads * width,)`, int64: `width` for each head."""
    return (heads.unsqueeze(1) * width + torch.arange(width)).flatten()


def _cut_width(state: State, architecture: Architecture, family: ModelFamily, channels: torch.Tensor) -> None:
    """Cuts the residual stream to some channels, in every tensor that reads or writes it.

    Some families multiply token embeddings by sqrt(width). This factor becomes smaller, which is compensated in one of
    two ways. If a layer norm follows the sum of embeddings and positions, the positions are scaled down by the same
    ratio: the norm removes a common factor, and the token matrix, which is tied to the output layer, keeps its values.
    Otherwise the token matrix is scaled up, and the last norm of the decoder, which only the output layer reads, is
    scaled down.
    """
    for stack in architecture.stacks:
        for layer in stack.layers:
            _cut_width_of_layer(state, layer, channels)
        for norm in stack.norms:
            cut_outputs(state, norm, channels)
    scale = (len(channels) / architecture.width) ** 0.5 if architecture.embedding_scale != 1.0 else 1.0
    decoder = architecture.decoder
    position_scale, token_scale = (scale, 1.0) if decoder.embedding_norm is not None else (1.0, 1 / scale)
    for stack in architecture.stacks:
        if stack.positions is not None:
            name = f"{stack.positions}.weight"
            state[name] = state[name][:, channels] * position_scale
    _cut_token_matrices(state, architecture, family, channels, token_scale)
    if architecture.is_tied:
        last = decoder.final_norm or decoder.layers[-1].feed_forward.norm
        for name in (f"{last}.weight", f"{last}.bias"):
            state[name] = state[name] / token_scale


def _cut_width_of_layer(state: State, layer: Layer, channels: torch.Tensor) -> None:
    for attention in layer.attentions:
        for name in (attention.query, attention.key, attention.value):
            cut_inputs(state, name, channels)
        cut_outputs(state, attention.output, channels)
    for up in layer.feed_forward.up:
        cut_inputs(state, up, channels)
    cut_outputs(state, layer.feed_forward.down, channels)


def _cut_token_matrices(
    state: State, architecture: Architecture, family: ModelFamily, channels: torch.Tensor, scale: float
) -> None:
    """Cuts the embeddings and the output layer, and scales all but an output layer of its own."""
    own_output = None if architecture.is_tied else state[architecture.output_table]
    # One matrix under up to four names, the largest of all: cut once.
    cut: dict[int, torch.Tensor] = {}
    for name in family.token_matrices:
        if name not in state:
            continue
        tensor = state[name]
        if tensor.data_ptr() not in cut:
            factor = 1.0 if tensor is own_output else scale
            cut[tensor.data_ptr()] = tensor[:, channels] * factor
        state[name] = cut[tensor.data_ptr()]
