"""Splits the output projection of a large vocabulary into blocks of columns.

The logits of a block are in a core's cache while its best tokens and its logsumexp are computed. Those of the whole
vocabulary follow from the blocks', and no step keeps all logits unless the engine asks for them.
"""

import math

from onnx import GraphProto, ModelProto, NodeProto, helper

from slimseq.inference.graphs.builder import NodeBuilder
from slimseq.inference.graphs.names import (
    LM_HEAD,
    LOG_SUM_EXP,
    LOG_SUM_EXP_ROWS,
    LOGIT_COLUMNS,
    LOGITS,
    TOP,
    TOP_LOGITS,
    TOP_TOKENS,
)

BLOCKS = f"{LM_HEAD}/blocks"
# Tokens up to which the projection is one matrix.
MAX_WHOLE = 100_000
# Logits of 128 rows are then 4 MiB, up to which the server's allocator reuses memory (`slimseq.app.serving.heap`). A
# smaller block has more operators for the same columns.
MAX_COLUMNS = 12_288
# The best tokens of a block are in its groups of so many columns with the highest maxima.
GROUP = 32


def split_projection(model: ModelProto) -> bool:
    """Changes a decoder graph in place if its vocabulary is large; returns whether it is.

    `LOGIT_COLUMNS` `(1,)`, int64, takes the place of the input `LOG_SUM_EXP_ROWS`: with 0, `LOGITS` is `(rows, 0)`;
    else it is at least the size of the vocabulary. Values are the same, but for the last bits of the logsumexp.
    """
    graph = model.graph
    vocabulary = next(value for value in graph.output if value.name == LOGITS).type.tensor_type.shape.dim[1].dim_value
    if vocabulary <= MAX_WHOLE:
        return False
    constants, before, product = _parts(graph, vocabulary)
    columns = -(-vocabulary // (-(-vocabulary // MAX_COLUMNS) * GROUP)) * GROUP
    builder = NodeBuilder("blocks")
    zero, one, two, last = (builder.integers(value) for value in (0, 1, 2, -1))
    kept, groups, found = [], [], []
    for start in range(0, vocabulary, columns):
        path, stop = f"{LM_HEAD}/{start}", min(start + columns, vocabulary)
        ends = [builder.integers(start), builder.integers(stop), last]
        # The runtime slices constants when it loads the graph.
        own = {name: builder.node("Slice", [name, *ends], path) for name in constants}
        for node in product:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            inputs = [own.get(name, name) for name in node.input]
            own[node.output[0]] = builder.node(node.op_type, inputs, path, domain=node.domain, **attributes)
        logits = own[LOGITS]
        kept.append(builder.node("Slice", [logits, zero, LOGIT_COLUMNS, one], path))
        if missing := -(stop - start) % GROUP:
            ends = [builder.integers(0, 0, 0, missing), builder.number(-math.inf)]
            logits = builder.node("Pad", [logits, *ends], path)
        grouped = builder.node("Reshape", [logits, builder.integers(0, -1, GROUP)], path)
        largest = builder.node("ReduceMax", [grouped, two], path, keepdims=0)
        groups.append(f"{path}/groups")
        builder.node("TopK", [largest, TOP], path, [f"{path}/largest", groups[-1]], axis=-1)
        places = builder.node("Unsqueeze", [groups[-1], two], path)
        best = builder.node("GatherND", [grouped, places], path, batch_dims=1)
        # Any logit minus its log-softmax is the logsumexp.
        logarithms = builder.node("LogSoftmax", [logits], path, axis=-1)
        # The runtime goes backwards from the last node of the graph, so it computes all that this one reads before
        # another block. What is kept of the logits is among it, as nothing.
        parts = [builder.node("Slice", [values, zero, one, one], path) for values in (logits, logarithms)]
        parts.append(builder.node("Reshape", [best, builder.integers(0, -1)], path))
        parts.append(builder.node("Slice", [kept[-1], zero, zero, one], path))
        found.append(builder.node("Concat", parts, path, axis=-1))
    builder.node("Concat", kept, BLOCKS, LOGITS, axis=-1)
    _add_best(builder, found, groups, columns)
    _replace(graph, before, builder.model().graph)
    return True


def _add_best(builder: NodeBuilder, found: list[str], groups: list[str], columns: int) -> None:
    """Adds the best tokens and the logsumexp, given what was found in each block.

    That is a logit, its log-softmax and the logits of the block's best groups, all `(rows, 2 + top * GROUP)`. `groups`
    are the numbers of those groups in their block, `(rows, top)`.
    """
    rows, group, size = builder.integers(0, -1), builder.integers(GROUP), builder.integers(columns)
    all_groups = builder.node("Concat", groups, BLOCKS, axis=-1)
    together = builder.node("Concat", found, BLOCKS, axis=-1)
    together = builder.node("Reshape", [together, builder.integers(0, len(found), -1)], BLOCKS)
    logits, logarithms, best = (
        builder.node("Slice", [together, *map(builder.integers, (start, stop, 2))], BLOCKS)
        for start, stop in ((0, 1), (1, 2), (2, MAX_COLUMNS))
    )
    places = f"{BLOCKS}/places"
    best = builder.node("Reshape", [best, rows], BLOCKS)
    builder.node("TopK", [best, TOP], BLOCKS, [TOP_LOGITS, places], axis=-1)
    of_all = builder.node("Div", [places, group], BLOCKS)
    first = builder.node("Mul", [builder.node("Div", [of_all, TOP], BLOCKS), size], BLOCKS)
    number = builder.node("GatherElements", [all_groups, of_all], BLOCKS, axis=1)
    place = builder.node("Add", [first, builder.node("Mul", [number, group], BLOCKS)], BLOCKS)
    builder.node("Add", [place, builder.node("Mod", [places, group], BLOCKS)], BLOCKS, TOP_TOKENS)
    sums = builder.node("Reshape", [builder.node("Sub", [logits, logarithms], BLOCKS), rows], BLOCKS)
    shares = builder.node("LogSoftmax", [sums], BLOCKS, axis=-1)
    ends = [builder.integers(0), builder.integers(1), builder.integers(1)]
    parts = [builder.node("Slice", [values, *ends], BLOCKS) for values in (sums, shares)]
    builder.node("Sub", parts, BLOCKS, LOG_SUM_EXP)


def _parts(graph: GraphProto, vocabulary: int) -> tuple[list[str], list[NodeProto], list[NodeProto]]:
    """Returns the constants with a column a token, the nodes before the projection, and its nodes."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Transpose" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]][::-1]
    wide = {name for name, shape in shapes.items() if shape[-1:] == [vocabulary]}
    before: list[NodeProto] = []
    product: list[NodeProto] = []
    for node in graph.node:
        if LOGITS in wide:
            break
        is_wide = not wide.isdisjoint(node.input)
        (product if is_wide else before).append(node)
        wide.update(node.output if is_wide else ())
    read = {name for node in product for name in node.input}
    return sorted(wide & shapes.keys() & read), before, product


def _replace(graph: GraphProto, before: list[NodeProto], blocks: GraphProto) -> None:
    """Puts the blocks in the place of all that follows some nodes."""
    nodes = [*before, *blocks.node]
    read = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    known = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(tensor for tensor in blocks.initializer if tensor.name not in known)
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output):
        if value.name == LOG_SUM_EXP_ROWS:
            value.name = LOGIT_COLUMNS
        elif value.name == LOGITS:
            value.type.tensor_type.shape.dim[1].dim_param = LOGIT_COLUMNS
