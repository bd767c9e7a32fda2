"""What a decoder's step returns of its logits: the best of them, and the logarithm of the sum of their exponentials."""

from onnx import TensorProto, helper

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.names import LOG_SUM_EXP, LOG_SUM_EXP_ROWS, LOGITS, TOP, TOP_LOGITS, TOP_TOKENS

# Fewer blocks are no fewer than the tokens that a search asks for; smaller ones are no work for a vector unit.
LEAST_BLOCKS = 16
BLOCK_SIZES = range(32, 257)
# For how many tokens a row the size of blocks is chosen: 4 beams ask for as many.
USUAL_TOP = 10


def add_best(builder: GraphBuilder, vocabulary: int) -> None:
    """Adds `top_logits` and `top_tokens`, both `(rows, top)`, best first.

    No token of a block is better than the block's largest, so that the best tokens are in the blocks whose largest are
    the best: the operator that sorts sees those alone, a third of the time or less.

    Args:
        builder: the graph, which has the logits `(rows, vocabulary)`.
        vocabulary: how many there are.
    """
    path = "/top"
    size = block_size(vocabulary)
    if size is None:
        builder.node("TopK", [LOGITS, TOP], path, [TOP_LOGITS, TOP_TOKENS], axis=-1)
        return
    last, blocks = builder.integers(2), builder.integers(vocabulary // size)
    width = builder.integers(size)
    split = builder.node("Reshape", [LOGITS, builder.integers(-1, vocabulary // size, size)], path)
    largest = builder.node("ReduceMax", [split, last], path, keepdims=0)
    count = builder.node("Min", [TOP, blocks], path)
    _, chosen = (largest_blocks := [f"{path}/blocks/{part}" for part in ("logits", "numbers")])
    builder.node("TopK", [largest, count], path, largest_blocks, axis=-1)
    places = builder.node("Unsqueeze", [chosen, last], path)
    taken = builder.node("GatherND", [split, places], path, batch_dims=1)
    _, place = (best := [TOP_LOGITS, f"{path}/places"])
    builder.node("TopK", [builder.node("Reshape", [taken, builder.integers(0, -1)], path), TOP], path, best, axis=-1)
    number = builder.node("GatherElements", [chosen, builder.node("Div", [place, width], path)], path, axis=1)
    start = builder.node("Mul", [number, width], path)
    builder.node("Add", [start, builder.node("Mod", [place, width], path)], path, TOP_TOKENS)


def add_normalisers(builder: GraphBuilder) -> None:
    """Adds `log_sum_exp`, `(rows, 1)`, or `(0, 1)` where `log_sum_exp_rows` is 0: greedy search needs none."""
    path = "/normalisers"
    # The difference from one logit is the same for all: so the sum needs no operator of its own, whose kernel is slow.
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
    """Returns how many tokens a block has, all of them as many; None where no number of them would do."""
    possible = [size for size in BLOCK_SIZES if vocabulary % size == 0 and vocabulary // size >= LEAST_BLOCKS]
    return min(possible, key=lambda size: vocabulary // size + USUAL_TOP * size, default=None)
