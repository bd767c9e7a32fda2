"""Adds the inputs and outputs of both graphs that the engine knows by name.

`slimseq.inference.graphs.tensor_names` has the names, and this module their shapes and types. The rows of a decoder
step may be at different positions. The rows (hypotheses) of one input share its caches. Each row has the indices of the
slot for its new keys and values, and a mask of the slots that it attends to. The engine binds a cache's output to the
memory of its input, so that a step writes only the new slots.
"""

from onnx import TensorProto

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.cross_attention_cache import INPUTS, CrossAttentionCache
from slimseq.inference.graphs.tensor_names import (
    CACHE_SLOTS,
    CROSS_ATTENTION_BIAS,
    LOG_SUM_EXP,
    LOG_SUM_EXP_ROWS,
    LOGITS,
    SELF_ATTENTION_BIAS,
    SOURCE,
    TOP,
    TOP_LOGITS,
    TOP_TOKENS,
    decoder_caches,
    past,
    past_state,
    present,
)
from slimseq.inference.graphs.top import add_log_sum_exp, add_top_tokens
from slimseq.inference.models.architecture import Cell, Heads, Stack

# Names of symbolic dimensions. Rows are hypotheses: `num_beams` consecutive ones for each input, in groups.
ROWS = "rows"
GROUPS = "groups"
ROWS_A_GROUP = "rows_a_group"
CAPACITY = "capacity"


def add_encoder_inputs(builder: GraphBuilder) -> None:
    """Adds `input_ids` and `attention_mask`, `(inputs, length)`, int64."""
    builder.input("input_ids", [INPUTS, SOURCE])
    builder.input("attention_mask", [INPUTS, SOURCE])


def add_decoder_inputs(
    builder: GraphBuilder, decoder: Stack, cross_attention: CrossAttentionCache, cell_width: int = 0
) -> None:
    """Adds the inputs of a decoder step, by the constants in `tensor_names`.

    - `input_ids` `(rows,)`, int64: the token of each row.
    - `CACHE_SLOTS` `(rows, heads, 4)`, int64: the indices `[input, head, 0, slot]` of the new keys and values, for the
      layer with most heads. Other layers take the first ones.
    - `SELF_ATTENTION_BIAS` `(inputs, 1, groups, rows a group, capacity)`, float32: masks slots. Its shape says which
      rows of an input share a matmul (`transformer_layers.attend_in_groups`); for sentences it is all of them.
    - `CROSS_ATTENTION_BIAS` `(inputs, 1, 1, length)`, float32: masks padding of the input.
    - `TOP` `(1,)`, int64: the number of best tokens to return for each row.
    - `LOG_SUM_EXP_ROWS` `(1,)`, int64: 0 if no logsumexp is needed.
    - the caches of all layers.

    Recurrent layers, whose `cell_width` is not 0, have a state `(rows, cell_width)`, float32, in place of
    self-attention caches, so that there are neither slots nor a bias of them.

    `EncoderDecoderGraphs` adds what the model needs for positions: `POSITIONS` `(rows,)`, int64, the position of each
    token; or `DISTANCES` `(inputs, groups or 1, rows a group or 1, capacity)`, int64, how many tokens before a row's
    token the token of a slot is.
    """
    builder.input("input_ids", [ROWS])
    if not cell_width:
        most_heads = max(attention.heads.count for attention in decoder.self_attentions)
        builder.input(CACHE_SLOTS, [ROWS, most_heads, 4])
        builder.input(
            SELF_ATTENTION_BIAS,
            [INPUTS, 1, GROUPS if cross_attention.is_for_documents else 1, ROWS_A_GROUP, CAPACITY],
            TensorProto.FLOAT,
        )
    builder.input(CROSS_ATTENTION_BIAS, [INPUTS, 1, 1, SOURCE], TensorProto.FLOAT)
    builder.input(TOP, [1])
    builder.input(LOG_SUM_EXP_ROWS, [1])
    for number, layer in enumerate(decoder.layers):
        if isinstance(layer.self_attention, Cell):
            builder.input(past_state(number), [ROWS, cell_width], TensorProto.FLOAT)
        else:
            for name in past(number, "decoder"):
                builder.input(name, _cache_dimensions(layer.self_attention.heads), TensorProto.FLOAT)
        if layer.cross_attention is not None:
            cross_attention.add_inputs(builder, number, layer.cross_attention.heads)


def add_decoder_outputs(builder: GraphBuilder, decoder: Stack, vocabulary: int, cell_width: int = 0) -> None:
    """Adds the outputs of a decoder step, by the constants in `tensor_names`.

    - `LOGITS` `(rows, vocabulary)`, float32.
    - `TOP_LOGITS` float32 and `TOP_TOKENS` int64, `(rows, top)`: the best tokens, best first.
    - `LOG_SUM_EXP` `(rows, 1)` or `(0, 1)`, float32: logsumexp of the logits.
    - the updated self-attention caches, or states of recurrent layers.
    """
    add_top_tokens(builder, vocabulary)
    add_log_sum_exp(builder)
    builder.output(LOGITS, [ROWS, vocabulary])
    builder.output(TOP_LOGITS, [ROWS, "top"])
    builder.output(TOP_TOKENS, [ROWS, "top"], TensorProto.INT64)
    builder.output(LOG_SUM_EXP, ["normalised", 1])
    for number, layer in enumerate(decoder.layers):
        if isinstance(layer.self_attention, Cell):
            state = past_state(number)
            builder.output(decoder_caches([state])[state], [ROWS, cell_width])
        else:
            for name in present(number, "decoder"):
                builder.output(name, _cache_dimensions(layer.self_attention.heads))


def _cache_dimensions(heads: Heads) -> list[int | str]:
    """Returns the dimensions of a layer's self-attention keys and of its values."""
    return [INPUTS, heads.count, 1, CAPACITY, heads.width]
