"""Adds the best tokens and the logsumexp of the logits to the decoder graph.

Search methods then read a few numbers a row in place of all logits. `split_projection` computes both block by block for
large vocabularies.
"""

from onnx import TensorProto, helper

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.tensor_names import LOG_SUM_EXP, LOG_SUM_EXP_ROWS, LOGITS, TOP, TOP_LOGITS, TOP_TOKENS

# At least so many blocks, which is more than a usual search needs tokens.
MIN_BLOCKS = 16
# Sizes of blocks, in tokens: large enough for vector instructions.
BLOCK_SIZES = range(32, 257)
# The block size is chosen for this number of best tokens a row: what 4 beams need, twice as many and two more.
USUAL_TOP = 10


def add_top_tokens(builder: GraphBuilder, vocabulary: int) -> None:
    """Adds `top_logits` and `top_tokens`, both `(rows, top)`, best first, to a graph with logits `(rows, vocabulary)`.

    The vocabulary is split into blocks. The best tokens are in the blocks with the highest maxima, so `TopK` runs on
    the maxima and then on those blocks only: a third of the time or less.
    """
    path = "/top"
    size = block_size(vocabulary)
    if size is None:
        builder.node("TopK", [LOGITS, TOP], path, [TOP_LOGITS, TOP_TOKENS], axis=-1)
        return
    last, blocks = builder.integers(2), builder.integers(vocabulary // size)
    width = builder.integers(size)
    blocks_of_logits = builder.node("Reshape", [LOGITS, builder.integers(-1, vocabulary // size, size)], path)
    largest = builder.node("ReduceMax", [blocks_of_logits, last], path, keepdims=0)
    count = builder.node("Min", [TOP, blocks], path)
    block_maxima, block_numbers = f"{path}/blocks/logits", f"{path}/blocks/numbers"
    builder.node("TopK", [largest, count], path, [block_maxima, block_numbers], axis=-1)
    indices = builder.node("Unsqueeze", [block_numbers, last], path)
    candidates = builder.node("GatherND", [blocks_of_logits, indices], path, batch_dims=1)
    flat_candidates = builder.node("Reshape", [candidates, builder.integers(0, -1)], path)
    # Places among the candidates, in which the tokens of one block follow each other. A token's number is the number of
    # its block times the size, and its place in the block.
    places = f"{path}/places"
    builder.node("TopK", [flat_candidates, TOP], path, [TOP_LOGITS, places], axis=-1)
    candidate_block = builder.node("Div", [places, width], path)
    number = builder.node("GatherElements", [block_numbers, candidate_block], path, axis=1)
    start = builder.node("Mul", [number, width], path)
    place_in_block = builder.node("Mod", [places, width], path)
    builder.node("Add", [start, place_in_block], path, TOP_TOKENS)


def add_log_sum_exp(builder: GraphBuilder) -> None:
    """Adds `log_sum_exp`, `(rows, 1)`, or `(0, 1)` if `LOG_SUM_EXP_ROWS` is 0."""
    path = "/normalisers"
    # A logit minus its log-softmax is the logsumexp, for any token: the first one here. The kernel of
    # ReduceLogSumExp is slow. An `If` has a graph for each of its cases.
    first = [builder.integers(0), builder.integers(1), builder.integers(1)]
    wanted = helper.make_graph(
        [
            helper.make_node("LogSoftmax", [LOGITS], [f"{path}/all"], name=f"{path}/LogSoftmax", axis=-1),
            helper.make_node("Slice", [LOGITS, *first], [f"{path}/logit"], name=f"{path}/Slice"),
            helper.make_node("Slice", [f"{path}/all", *first], [f"{path}/logarithm"], name=f"{path}/Slice_1"),
            helper.make_node("Sub", [f"{path}/logit", f"{path}/logarithm"], [f"{path}/wanted"], name=f"{path}/Sub"),
        ],
        "normalisers",
        [],
        [helper.make_tensor_value_info(f"{path}/wanted", TensorProto.FLOAT, None)],
    )
    none = helper.make_graph(
        [
            helper.make_node(
                "Constant",
                [],
                [f"{path}/none"],
                name=f"{path}/Constant",
                value=helper.make_tensor("none", TensorProto.FLOAT, [0, 1], []),
            )
        ],
        "no_normalisers",
        [],
        [helper.make_tensor_value_info(f"{path}/none", TensorProto.FLOAT, [0, 1])],
    )
    is_wanted = builder.node("Greater", [LOG_SUM_EXP_ROWS, builder.integers(0)], path)
    builder.node("If", [is_wanted], path, LOG_SUM_EXP, then_branch=wanted, else_branch=none)


def block_size(vocabulary: int) -> int | None:
    """Returns the number of tokens of each block; None if the vocabulary cannot be split evenly."""
    possible = [size for size in BLOCK_SIZES if vocabulary % size == 0 and vocabulary // size >= MIN_BLOCKS]
    # `TopK` reads one maximum a block, and then all logits of as many blocks as tokens are needed.
    return min(possible, key=lambda size: vocabulary // size + USUAL_TOP * size, default=None)
