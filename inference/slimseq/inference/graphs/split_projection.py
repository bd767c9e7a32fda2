"""Splits the output projection of a large vocabulary into blocks of columns.

The logits of a block are in a core's cache while its best tokens and its logsumexp are computed. Those of the whole
vocabulary follow from the blocks', and no step keeps all logits unless the engine asks for them.
"""

import math

from onnx import ModelProto, NodeProto, helper

from slimseq.inference.graphs import names
from slimseq.inference.graphs.builder import GraphBuilder

# Tokens up to which the projection is one matrix.
MAX_WHOLE = 100_000
# A smaller block has more operators for the same columns, a larger one leaves the cache at fewer rows.
MAX_COLUMNS = 12_288
# The best tokens of a block are in its groups of so many columns with the highest maxima.
GROUP = 32


def split_projection(model: ModelProto) -> bool:
    """Changes a decoder graph in place if its vocabulary is large; returns whether it is.

    `LOGIT_COLUMNS` `(1,)`, int64, takes the place of the input `LOG_SUM_EXP_ROWS`: with 0, `LOGITS` is `(rows, 0)`;
    else it is at least the size of the vocabulary. Values are the same, but for the last bits of the logsumexp.
    """
    graph, product = model.graph, list[NodeProto]()
    logits = next(value for value in graph.output if value.name == names.LOGITS).type.tensor_type.shape.dim[1]
    if (vocabulary := logits.dim_value) <= MAX_WHOLE:
        return False
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    turned = [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in shapes]
    shapes |= {node.output[0]: shapes[node.input[0]][::-1] for node in turned}
    constants = [name for name, shape in shapes.items() if shape[-1:] == [vocabulary]]
    wide, nodes = set(constants), list(graph.node)
    # What it builds reads no weights but those of the graph.
    builder = GraphBuilder("blocks", None, None)  # type: ignore[arg-type]
    del graph.node[:]
    for node in nodes:
        if names.LOGITS not in wide:
            is_wide = not wide.isdisjoint(node.input)
            (product if is_wide else graph.node).append(node)
            wide.update(node.output if is_wide else ())
    columns = -(-vocabulary // (-(-vocabulary // MAX_COLUMNS) * GROUP)) * GROUP
    found: list[tuple[str, str, str]] = []
    for start in range(0, vocabulary, columns):
        path, count = f"{names.LM_HEAD}/{start}", min(columns, vocabulary - start)
        # The runtime slices constants when it loads the graph.
        own = {name: _slice(builder, name, start, start + count, -1, path) for name in constants}
        for node in product:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            inputs = [own.get(name, name) for name in node.input]
            own[node.output[0]] = builder.node(node.op_type, inputs, path, domain=node.domain, **attributes)
        found.append(_add_block(builder, own[names.LOGITS], count, path))
    path, last = f"{names.LM_HEAD}/blocks", builder.integers(0, -1)
    joined = (names.LOGITS, f"{path}/groups", f"{path}/found")
    for name, each in zip(joined, zip(*found, strict=True), strict=True):
        builder.node("Concat", each, path, name, axis=-1)
    together = builder.node("Reshape", [joined[2], builder.integers(0, len(found), -1)], path)
    sums, best = (_slice(builder, together, start, stop, 2, path) for start, stop in ((0, 1), (1, vocabulary)))
    places, group = f"{path}/places", builder.integers(GROUP)
    best = builder.node("Reshape", [best, last], path)
    builder.node("TopK", [best, names.TOP], path, [names.TOP_LOGITS, places], axis=-1)
    place = builder.node("Div", [places, group], path)
    first = builder.node("Mul", [builder.node("Div", [place, names.TOP], path), builder.integers(columns)], path)
    number = builder.node("GatherElements", [joined[1], place], path, axis=1)
    first = builder.node("Add", [first, builder.node("Mul", [number, group], path)], path)
    builder.node("Add", [first, builder.node("Mod", [places, group], path)], path, names.TOP_TOKENS)
    _log_sum_exp(builder, builder.node("Reshape", [sums, last], path), path, names.LOG_SUM_EXP)
    blocks, logits.dim_param = builder.model().graph, names.LOGIT_COLUMNS
    graph.node.extend(blocks.node)
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    graph.initializer.extend(tensor for tensor in blocks.initializer if tensor.name not in shapes)
    next(value for value in graph.input if value.name == names.LOG_SUM_EXP_ROWS).name = names.LOGIT_COLUMNS
    return True


def _add_block(builder: GraphBuilder, logits: str, count: int, path: str) -> tuple[str, str, str]:
    """Adds what is kept of so many logits, their best groups, and their logsumexp with the logits of those groups."""
    zero, one, two = (builder.integers(value) for value in range(3))
    kept, groups = builder.node("Slice", [logits, zero, names.LOGIT_COLUMNS, one], path), f"{path}/groups"
    if missing := -count % GROUP:
        ends = [builder.integers(0, 0, 0, missing), builder.number(-math.inf)]
        logits = builder.node("Pad", [logits, *ends], path)
    grouped = builder.node("Reshape", [logits, builder.integers(0, -1, GROUP)], path)
    largest = builder.node("ReduceMax", [grouped, two], path, keepdims=0)
    builder.node("TopK", [largest, names.TOP], path, [f"{path}/largest", groups], axis=-1)
    best = builder.node("GatherND", [grouped, builder.node("Unsqueeze", [groups, two], path)], path, batch_dims=1)
    # The runtime goes backwards from the last node of the graph, so it computes all that this one reads before another
    # block. What is kept is among it, as nothing.
    nothing = _slice(builder, kept, 0, 0, 1, path)
    parts = [_log_sum_exp(builder, logits, path), builder.node("Reshape", [best, builder.integers(0, -1)], path)]
    return kept, groups, builder.node("Concat", [*parts, nothing], path, axis=-1)


def _log_sum_exp(builder: GraphBuilder, logits: str, path: str, output: str | None = None) -> str:
    logarithms = builder.node("LogSoftmax", [logits], path, axis=-1)
    return builder.node("Sub", [_slice(builder, each, 0, 1, 1, path) for each in (logits, logarithms)], path, output)


def _slice(builder: GraphBuilder, value: str, start: int, stop: int, axis: int, path: str) -> str:
    return builder.node("Slice", [value, *(builder.integers(each) for each in (start, stop, axis))], path)
