"""Splits the output projection of a large vocabulary into blocks of columns.

The logits of a block stay in a core's cache while the block's best tokens and logsumexp are computed. The best tokens
and the logsumexp of the whole vocabulary follow from those of the blocks. No step keeps all logits unless the engine
asks for them. `slimseq.inference.graphs.export` calls it last, and quantizers do the same with their graphs.
"""

import math
from collections.abc import Mapping, Sequence

from onnx import GraphProto, ModelProto, NodeProto, helper

from slimseq.inference.graphs import tensor_names
from slimseq.inference.graphs.builder import GraphBuilder

# Columns of a block, at most. Smaller blocks mean more operators for the same columns; the logits of larger ones exceed
# the cache already with fewer rows.
MAX_COLUMNS = 12_288
# Columns of a group. The best tokens of a block are in its groups with the highest maxima.
GROUP = 32


def split_projection(model: ModelProto) -> bool:
    """Changes a decoder graph in place if its vocabulary is large; returns whether it is.

    `LOGIT_COLUMNS` `(1,)`, int64, takes the place of the input `LOG_SUM_EXP_ROWS`: with 0, `LOGITS` is `(rows, 0)`;
    else it is at least the size of the vocabulary. Values are the same, but for the last bits of the logsumexp.
    """
    graph = model.graph
    logits_output = next(value for value in graph.output if value.name == tensor_names.LOGITS)
    logits_width = logits_output.type.tensor_type.shape.dim[1]
    vocabulary = logits_width.dim_value
    if not tensor_names.has_split_projection(vocabulary):
        return False
    shapes = _constant_shapes(graph)
    wide_constants = [name for name, shape in shapes.items() if shape[-1:] == [vocabulary]]
    # What the builder makes reads no weights but the graph's own.
    builder = GraphBuilder("blocks", None, None)  # type: ignore[arg-type]
    projection = _take_projection(graph, wide_constants)
    columns = _block_columns(vocabulary)
    blocks = []
    for start in range(0, vocabulary, columns):
        path = f"{tensor_names.LM_HEAD}/{start}"
        count = min(columns, vocabulary - start)
        logits = _add_columns(builder, projection, wide_constants, start, start + count, path)
        blocks.append(_add_block(builder, logits, count, path))
    _join_blocks(builder, blocks, vocabulary, columns)
    logits_width.dim_param = tensor_names.LOGIT_COLUMNS
    _add_to_graph(graph, builder.model().graph, shapes)
    switch = next(value for value in graph.input if value.name == tensor_names.LOG_SUM_EXP_ROWS)
    switch.name = tensor_names.LOGIT_COLUMNS
    return True


def _constant_shapes(graph: GraphProto) -> dict[str, list[int]]:
    """Returns the shape of each constant, and of each transposed constant, by name."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Transpose" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]][::-1]
    return shapes


def _take_projection(graph: GraphProto, wide_constants: Sequence[str]) -> list[NodeProto]:
    """Removes from a graph the nodes that compute the logits from the wide constants, and what follows the logits.

    Returns:
        The nodes that compute the logits, in the order of the graph.
    """
    wide = set(wide_constants)
    nodes = list(graph.node)
    del graph.node[:]
    projection: list[NodeProto] = []
    for node in nodes:
        if tensor_names.LOGITS in wide:
            break
        if wide.isdisjoint(node.input):
            graph.node.append(node)
        else:
            projection.append(node)
            wide.update(node.output)
    return projection


def _block_columns(vocabulary: int) -> int:
    """Returns the columns of each block but the last: blocks of about equal size, in whole groups."""
    blocks = math.ceil(vocabulary / MAX_COLUMNS)
    return math.ceil(vocabulary / (blocks * GROUP)) * GROUP


def _add_columns(
    builder: GraphBuilder,
    projection: Sequence[NodeProto],
    wide_constants: Sequence[str],
    start: int,
    stop: int,
    path: str,
) -> str:
    """Adds a copy of the projection that computes the logits of some columns; returns their name."""
    # The runtime slices constants when it loads the graph.
    block_values = {name: _slice(builder, name, start, stop, -1, path) for name in wide_constants}
    for node in projection:
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        inputs = [block_values.get(name, name) for name in node.input]
        block_values[node.output[0]] = builder.node(node.op_type, inputs, path, domain=node.domain, **attributes)
    return block_values[tensor_names.LOGITS]


def _join_blocks(builder: GraphBuilder, blocks: Sequence[tuple[str, str, str]], vocabulary: int, columns: int) -> None:
    """Adds the graph's outputs, which follow from the outputs of the blocks (`_add_block`)."""
    path = f"{tensor_names.LM_HEAD}/blocks"
    kept, group_numbers, sums_and_logits = zip(*blocks, strict=True)
    all_groups, all_sums_and_logits = f"{path}/groups", f"{path}/found"
    builder.node("Concat", kept, path, tensor_names.LOGITS, axis=-1)
    builder.node("Concat", group_numbers, path, all_groups, axis=-1)
    builder.node("Concat", sums_and_logits, path, all_sums_and_logits, axis=-1)
    by_block = builder.node("Reshape", [all_sums_and_logits, builder.integers(0, len(blocks), -1)], path)
    # Each block has its logsumexp, and after it the logits of its best groups.
    sums = _slice(builder, by_block, 0, 1, 2, path)
    candidates = _slice(builder, by_block, 1, vocabulary, 2, path)
    rows_of_all = builder.integers(0, -1)
    group_size = builder.integers(GROUP)
    candidates = builder.node("Reshape", [candidates, rows_of_all], path)
    places = f"{path}/places"
    builder.node("TopK", [candidates, tensor_names.TOP], path, [tensor_names.TOP_LOGITS, places], axis=-1)
    # A token's number: the first column of its block, of its group in the block, and its place in the group.
    candidate_group = builder.node("Div", [places, group_size], path)
    block = builder.node("Div", [candidate_group, tensor_names.TOP], path)
    block_start = builder.node("Mul", [block, builder.integers(columns)], path)
    group_number = builder.node("GatherElements", [all_groups, candidate_group], path, axis=1)
    group_start = builder.node("Mul", [group_number, group_size], path)
    start = builder.node("Add", [block_start, group_start], path)
    place_in_group = builder.node("Mod", [places, group_size], path)
    builder.node("Add", [start, place_in_group], path, tensor_names.TOP_TOKENS)
    block_sums = builder.node("Reshape", [sums, rows_of_all], path)
    _log_sum_exp(builder, block_sums, path, tensor_names.LOG_SUM_EXP)


def _add_to_graph(graph: GraphProto, blocks: GraphProto, shapes: Mapping[str, object]) -> None:
    """Adds the built nodes and constants to a graph, and removes its constants that no node reads any more."""
    graph.node.extend(blocks.node)
    names_read = {name for node in graph.node for name in node.input}
    for tensor in list(graph.initializer):
        if tensor.name not in names_read:
            graph.initializer.remove(tensor)
    graph.initializer.extend(tensor for tensor in blocks.initializer if tensor.name not in shapes)


def _add_block(builder: GraphBuilder, logits: str, count: int, path: str) -> tuple[str, str, str]:
    """Adds the outputs of one block, whose `logits` are `(rows, count)`.

    Returns:
        Three names: the logits that the engine asks for, all or none; the numbers of the block's best groups; and the
        block's logsumexp with the logits of those groups behind it.
    """
    zero, one, two = builder.integers(0), builder.integers(1), builder.integers(2)
    kept = builder.node("Slice", [logits, zero, tensor_names.LOGIT_COLUMNS, one], path)
    groups = f"{path}/groups"
    # The last group of a block is filled up with tokens that are never best.
    missing = math.ceil(count / GROUP) * GROUP - count
    if missing:
        ends = [builder.integers(0, 0, 0, missing), builder.number(-math.inf)]
        logits = builder.node("Pad", [logits, *ends], path)
    grouped = builder.node("Reshape", [logits, builder.integers(0, -1, GROUP)], path)
    largest = builder.node("ReduceMax", [grouped, two], path, keepdims=0)
    builder.node("TopK", [largest, tensor_names.TOP], path, [f"{path}/largest", groups], axis=-1)
    group_indices = builder.node("Unsqueeze", [groups, two], path)
    best = builder.node("GatherND", [grouped, group_indices], path, batch_dims=1)
    # The runtime orders nodes backwards from the last one. So it computes all that the node below reads before another
    # block begins. The node also reads 0 columns of the kept logits, so that they are copied while they are in cache.
    nothing = _slice(builder, kept, 0, 0, 1, path)
    log_sum_exp = _log_sum_exp(builder, logits, path)
    flat_best = builder.node("Reshape", [best, builder.integers(0, -1)], path)
    return kept, groups, builder.node("Concat", [log_sum_exp, flat_best, nothing], path, axis=-1)


def _log_sum_exp(builder: GraphBuilder, logits: str, path: str, output: str | None = None) -> str:
    """Adds the logsumexp of logits, `(rows, 1)`: the first logit minus its log-softmax."""
    logarithms = builder.node("LogSoftmax", [logits], path, axis=-1)
    first_logit = _slice(builder, logits, 0, 1, 1, path)
    first_logarithm = _slice(builder, logarithms, 0, 1, 1, path)
    return builder.node("Sub", [first_logit, first_logarithm], path, output)


def _slice(builder: GraphBuilder, value: str, start: int, stop: int, axis: int, path: str) -> str:
    bounds = [builder.integers(start), builder.integers(stop), builder.integers(axis)]
    return builder.node("Slice", [value, *bounds], path)
