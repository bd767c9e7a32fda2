"""The inputs and outputs that the engine knows by name: ids, places, masks, caches and the best next tokens.

A decoder's step takes rows of any age together. The rows of an input share its caches: each row says which places its
new keys and values go to, and which columns it attends to. Where a cache's output is bound to the memory of its input,
only those places are written.
"""

from onnx import TensorProto

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.cross_attention_cache import INPUTS, CrossAttentionCache
from slimseq.inference.graphs.names import (
    CROSS_ATTENTION_BIAS,
    LOG_SUM_EXP,
    LOG_SUM_EXP_ROWS,
    LOGITS,
    PLACES,
    SELF_ATTENTION_BIAS,
    SOURCE,
    TOP,
    TOP_LOGITS,
    TOP_TOKENS,
    past,
    present,
)
from slimseq.inference.graphs.top import add_best, add_normalisers
from slimseq.inference.models.architecture import Heads

# Hypotheses: as many for each input as the search has beams, those of an input one behind the other.
ROWS = "rows"
# Those of an input are in groups of as many.
GROUPS = "groups"
ROWS_A_GROUP = "rows_a_group"
CAPACITY = "capacity"


def add_encoder_inputs(builder: GraphBuilder) -> None:
    """Adds `input_ids` and `attention_mask`, `(inputs, length)`, int64."""
    builder.input("input_ids", [INPUTS, SOURCE])
    builder.input("attention_mask", [INPUTS, SOURCE])


def add_decoder_inputs(builder: GraphBuilder, layers: int, heads: Heads, cross_attention: CrossAttentionCache) -> None:
    """Adds what a step takes.

    `input_ids` `(rows,)`, int64, is each row's token; `places` `(rows, heads, 4)`, int64, says where its keys and
    values go: input, head, 0 and column. `self_attention_bias` `(inputs, 1, groups, rows a group, capacity)` is added
    to the scores of columns, and says by its shape which rows of an input share a product (`layers.attend_in_groups`),
    which is all of them where sources are short; `cross_attention_bias` `(inputs, 1, 1, length)` is added to those of
    source positions. `top` `(1,)` says how many next tokens are wanted a row, and `log_sum_exp_rows` `(1,)` is 0 where
    no normalisers are.

    What a model wants to know of where a row stands it adds itself: `positions` `(rows,)`, int64, how many tokens came
    before each row's; `distances` `(inputs, capacity)`, int64, how many steps ago a column was written.
    """
    builder.input("input_ids", [ROWS])
    builder.input(PLACES, [ROWS, heads.count, 4])
    builder.input(
        SELF_ATTENTION_BIAS,
        [INPUTS, 1, GROUPS if cross_attention.are_long else 1, ROWS_A_GROUP, CAPACITY],
        TensorProto.FLOAT,
    )
    builder.input(CROSS_ATTENTION_BIAS, [INPUTS, 1, 1, SOURCE], TensorProto.FLOAT)
    builder.input(TOP, [1])
    builder.input(LOG_SUM_EXP_ROWS, [1])
    for layer in range(layers):
        for name in past(layer, "decoder"):
            builder.input(name, [INPUTS, heads.count, 1, CAPACITY, heads.width], TensorProto.FLOAT)
        cross_attention.add_inputs(builder, layer, heads)


def add_decoder_outputs(builder: GraphBuilder, layers: int, heads: Heads, vocabulary: int) -> None:
    """Makes the logits `(rows, vocabulary)`, what is best in them, and the caches outputs of the decoder's graph.

    `top_logits` and `top_tokens` are `(rows, top)`, best first, and `log_sum_exp` `(rows, 1)` or `(0, 1)`: the
    logarithm of the sum of the logits' exponentials.
    """
    add_best(builder, vocabulary)
    add_normalisers(builder)
    builder.output(LOGITS, [ROWS, vocabulary])
    builder.output(TOP_LOGITS, [ROWS, "top"])
    builder.output(TOP_TOKENS, [ROWS, "top"], TensorProto.INT64)
    builder.output(LOG_SUM_EXP, ["normalised", 1])
    for layer in range(layers):
        for name in present(layer, "decoder"):
            builder.output(name, [INPUTS, heads.count, 1, CAPACITY, heads.width])
