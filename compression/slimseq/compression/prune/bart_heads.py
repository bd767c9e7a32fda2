"""Removes attention heads of a BART together with residual channels, because its heads' width is a quotient."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.anatomy import anatomy_of
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.importance import Importance
from slimseq.compression.prune.ranking import best, expanded
from slimseq.compression.prune.rebuild import rebuild
from slimseq.inference.models.anatomy import Attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def prune_bart_heads(
    model: "PreTrainedModel", keep: int, importance: Importance, takes_over: bool = False
) -> "PreTrainedModel":
    """Returns a BART that keeps `keep` heads in every attention, and the same share of its width.

    Stock BART has no key for the heads' width: it is `d_model / heads`, in transformers and in CTranslate2 alike. Fewer
    heads at the same `d_model` would mean wider heads, which no slice of the weights gives. So the width falls with the
    heads, from `d_model` to `d_model * keep / heads`, and the heads keep their width. Every attention keeps its own
    best heads; the residual channels that stay are the same everywhere, since one stream runs through all layers.

    Where `scale_embedding` multiplies token embeddings by sqrt(d_model), the smaller factor is made up for. With a
    layer norm after the sum of embeddings and positions, the positions are scaled down by the same ratio: the norm
    takes the common factor out again, and the token matrix, tied to the output layer, keeps its values. Without one,
    the token matrix is scaled up, and the last norm of the decoder, which only the output layer reads, is scaled down.

    Args:
        model: a BART with as many heads in the encoder as in the decoder; stays as it is.
        keep: heads to keep.
        importance: measured on this model.
        takes_over: whether the model is not used any more, so that what stays whole needs no copy.

    Raises:
        BadParameters: the stacks differ in heads, or fewer than one or more than all are to be kept.
    """
    config = model.config
    heads = config.encoder_attention_heads
    if config.decoder_attention_heads != heads:
        raise BadParameters(f"the encoder has {heads} heads and the decoder {config.decoder_attention_heads}")
    if not 1 <= keep <= heads or importance.residual is None:
        raise BadParameters(f"cannot keep {keep} of {heads} attention heads")
    anatomy = anatomy_of(model)
    width = anatomy.head_dim * keep
    channels = best(importance.residual, width, "residual channels")
    state = model.state_dict()

    for stack in anatomy.stacks:
        for layer in stack.layers:
            for attention in layer.attentions:
                kept = best(importance.heads[attention.output], keep, "attention heads")
                _cut_attention(state, attention, expanded(kept, anatomy.head_dim), channels)
            for up in layer.feed_forward.up:
                state[f"{up}.weight"] = state[f"{up}.weight"][:, channels]
            down = layer.feed_forward.down
            state[f"{down}.weight"] = state[f"{down}.weight"][channels]
            state[f"{down}.bias"] = state[f"{down}.bias"][channels]
    scale = (width / config.d_model) ** 0.5 if config.scale_embedding else 1.0
    position_scale, token_scale = (scale, 1.0) if anatomy.has_embedding_norm else (1.0, 1 / scale)
    # None where the output layer is the token matrix.
    output = None if config.tie_word_embeddings else state["lm_head.weight"]
    # One matrix under up to four names, the largest of all: cut once.
    tokens: dict[int, torch.Tensor] = {}
    for name, tensor in state.items():
        if "layer_norm." in name or "layernorm_embedding." in name:
            state[name] = tensor[channels]
        elif "embed_positions." in name:
            state[name] = tensor[:, channels] * position_scale
        elif "embed_tokens." in name or name in ("model.shared.weight", "lm_head.weight"):
            if tensor.data_ptr() not in tokens:
                tokens[tensor.data_ptr()] = tensor[:, channels] * (1.0 if tensor is output else token_scale)
            state[name] = tokens[tensor.data_ptr()]
    if output is None:
        last = (
            "model.decoder.layer_norm" if anatomy.is_pre_norm else f"{anatomy.decoder.layers[-1].name}.final_layer_norm"
        )
        for name in (f"{last}.weight", f"{last}.bias"):
            state[name] = state[name] / token_scale
    changes = {"d_model": width, "encoder_attention_heads": keep, "decoder_attention_heads": keep}
    return rebuild(model, changes, state, takes_over)


def _cut_attention(
    state: dict[str, torch.Tensor], attention: Attention, rows: torch.Tensor, channels: torch.Tensor
) -> None:
    for name in (attention.query, attention.key, attention.value):
        state[f"{name}.weight"] = state[f"{name}.weight"][rows][:, channels]
        state[f"{name}.bias"] = state[f"{name}.bias"][rows]
    state[f"{attention.output}.weight"] = state[f"{attention.output}.weight"][channels][:, rows]
    state[f"{attention.output}.bias"] = state[f"{attention.output}.bias"][channels]
