"""What both families' graphs are made of beside attention: linear layers, activations, masks, the output matrix."""

from onnx import TensorProto

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.names import MASKED
from slimseq.models_store.errors import BadSource


def linear(builder: GraphBuilder, states: str, module: str, factor: float = 1.0) -> str:
    """Applies a linear layer, with its bias if it has one.

    Args:
        builder: the graph.
        states: `(..., inputs)`, float32.
        module: the layer's name in the model.
        factor: of the outputs; it goes into the weights, so that no step multiplies with it.

    Returns:
        `(..., outputs)`.
    """
    path = builder.path(module)
    product = builder.node("MatMul", [states, builder.matrix(f"{module}.weight", factor)], path)
    if f"{module}.bias" not in builder.weights:
        return product
    return builder.node("Add", [builder.weight(f"{module}.bias", factor), product], path)


def activate(builder: GraphBuilder, states: str, function: str, path: str) -> str:
    """Applies an activation, by the name that transformers has for it.

    Raises:
        BadSource: it is not known here.
    """
    match function:
        case "relu":
            return builder.node("Relu", [states], path)
        case "gelu":
            return builder.node("Gelu", [states], path)
        case "gelu_new" | "gelu_pytorch_tanh":
            return builder.node("Gelu", [states], path, approximate="tanh")
        case "silu" | "swish":
            return builder.node("Mul", [states, builder.node("Sigmoid", [states], path)], path)
    raise BadSource(f"activation {function!r} has no ONNX operators here; relu, gelu, gelu_new and silu have")


def attend(builder: GraphBuilder, query: str, key: str, value: str, added: str | None, path: str) -> str:
    """Weighs values by the softmax of scores.

    Args:
        builder: the graph.
        query: `(rows, heads, ..., queries, width)`, scaled.
        key: `(rows, heads, ..., width, keys)`.
        value: `(rows, heads, ..., keys, width)`.
        added: what to add to the scores, `(rows or 1, heads or 1, ..., queries or 1, keys)`.
        path: the attention's.

    Returns:
        `(rows, heads, ..., queries, width)`.
    """
    scores = builder.node("MatMul", [query, key], path)
    if added is not None:
        scores = builder.node("Add", [scores, added], path)
    return builder.node("MatMul", [builder.node("Softmax", [scores], path, axis=-1), value], path)


def attend_in_groups(builder: GraphBuilder, query: str, caches: tuple[str, str], added: str, path: str) -> str:
    """Lets groups of queries attend, by a product for each group, to what all queries of their input share.

    A matrix product copies its right side into another order first, which takes longer than to multiply it with a few
    rows; with a row alone it is read where it lies. So groups of one read the right side once a row without a copy:
    what that takes of a large one is half, and of what is in a core's cache anyway a little more.

    Args:
        builder: the graph.
        query: `(inputs, heads, groups, rows a group, width)`, scaled.
        caches: keys and values, `(inputs, heads, 1, keys, width)`.
        added: what to add to the scores, `(inputs, heads or 1, groups or 1, rows a group or 1, keys)`.
        path: the attention's.

    Returns:
        Like `query`.
    """
    key = builder.node("Transpose", [caches[0]], path, perm=[0, 1, 2, 4, 3])
    return attend(builder, query, key, caches[1], added, path)


def masked_scores(builder: GraphBuilder, mask: str) -> str:
    """Returns what to add to scores: `(rows, 1, 1, length)`, float32, of a mask `(rows, length)`, int64."""
    path = "/mask"
    floats = builder.node("Cast", [mask], path, to=TensorProto.FLOAT)
    absent = builder.node("Sub", [builder.number(1.0), floats], path)
    scores = builder.node("Mul", [absent, builder.number(MASKED)], path)
    return builder.node("Unsqueeze", [scores, builder.integers(1, 2)], path)


def output_projection(builder: GraphBuilder, states: str, table: str, *, is_shared: bool, output: str) -> None:
    """Multiplies one token's states `(rows, width)` with the output matrix: logits `(rows, vocabulary)`.

    Args:
        builder: the graph.
        states: the values.
        table: name of the matrix in the model, `(vocabulary, width)`.
        is_shared: whether to read the very bytes that lookups read, which the runtime transposes when it loads the
            graph; else a transposed copy is stored.
        output: name of the logits.
    """
    path = "/lm_head"
    if is_shared:
        matrix = builder.node("Transpose", [builder.weight(table)], path, perm=[1, 0])
    else:
        matrix = builder.matrix(table)
    builder.node("MatMul", [states, matrix], path, output)
