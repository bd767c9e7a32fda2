"""Building blocks of all families' graphs: linear layers, activations, attention scores, masks, output projection.

`slimseq.inference.graphs.attention` builds attention layers from them.
"""

from onnx import TensorProto

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.tensor_names import LM_HEAD, MASKED, decoder_caches
from slimseq.inference.models.architecture import Cell
from slimseq.models_store.errors import BadSource


def linear(builder: GraphBuilder, states: str, module: str, factor: float = 1.0) -> str:
    """Adds a linear layer, with its bias if it has one: `(..., inputs)` to `(..., outputs)`, float32.

    `factor` multiplies the outputs. It is part of the stored weights, so it costs nothing at run time.
    """
    path = builder.path(module)
    outputs = builder.node("MatMul", [states, builder.matrix(f"{module}.weight", factor)], path)
    if f"{module}.bias" not in builder.weights:
        return outputs
    return builder.node("Add", [builder.weight(f"{module}.bias", factor), outputs], path)


def recurrent_cell(builder: GraphBuilder, states: str, names: Cell, cache: str) -> str:
    """Adds one step of a simpler simple recurrent unit, as `Cell` says; returns a value like `states`, `(rows, width)`.

    `cache` is the name of the previous state, `(rows, width)`. The graph reads it before it writes the new state, so
    that both may share their memory.
    """
    path = builder.path(names.forget.rpartition(".")[0])
    # `forget * cache + (1 - forget) * new`, written as `forget * (cache - new) + new`.
    forget = builder.node("Sigmoid", [linear(builder, states, names.forget)], path)
    new = linear(builder, states, names.input)
    kept = builder.node("Mul", [forget, builder.node("Sub", [cache, new], path)], path)
    state = builder.node("Add", [kept, new], path, decoder_caches([cache])[cache])
    return builder.node("Relu", [state], path)


def activate(builder: GraphBuilder, states: str, function: str, path: str) -> str:
    """Adds an activation function, by its name in transformers, or raises BadSource if it is not supported."""
    match function:
        case "relu":
            return builder.node("Relu", [states], path)
        case "gelu":
            return builder.node("Gelu", [states], path)
        case "gelu_new" | "gelu_pytorch_tanh":
            return builder.node("Gelu", [states], path, approximate="tanh")
        case "silu" | "swish":
            return builder.node("Mul", [states, builder.node("Sigmoid", [states], path)], path)
    raise BadSource(f"activation {function!r} is not supported; relu, gelu, gelu_new and silu are")


def attend(builder: GraphBuilder, query: str, key: str, value: str, added: str | None, path: str) -> str:
    """Adds scaled dot-product attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762).

    - `query`, scaled already, and the result: `(rows, heads, ..., queries, width)`.
    - `key`: `(rows, heads, ..., width, keys)`.
    - `value`: `(rows, heads, ..., keys, width)`.
    - `added`, the bias of the scores: `(rows or 1, heads or 1, ..., queries or 1, keys)`.
    """
    scores = builder.node("MatMul", [query, key], path)
    if added is not None:
        scores = builder.node("Add", [scores, added], path)
    return builder.node("MatMul", [builder.node("Softmax", [scores], path, axis=-1), value], path)


def attend_in_groups(builder: GraphBuilder, query: str, caches: tuple[str, str], added: str, path: str) -> str:
    """Adds attention of grouped queries to the keys and values of their input, with one matmul a group.

    A matmul first packs its right-hand matrix, which takes longer than the multiplication with a few rows. A group of
    one row is a matrix-vector product, which reads the matrix in place: half the time for caches larger than the
    second-level cache, a little more time for smaller ones. The engine chooses the groups at run time.

    - `query`, scaled already, and the result: `(inputs, heads, groups, rows a group, width)`.
    - `caches`, keys and values: both `(inputs, heads, 1, keys, width)`.
    - `added`, the bias of the scores: `(inputs, heads or 1, groups or 1, rows a group or 1, keys)`.
    """
    key = builder.node("Transpose", [caches[0]], path, perm=[0, 1, 2, 4, 3])
    return attend(builder, query, key, caches[1], added, path)


def masked_scores(builder: GraphBuilder, mask: str) -> str:
    """Turns a padding mask `(rows, length)`, int64, into a bias of scores, `(rows, 1, 1, length)`, float32."""
    path = "/mask"
    floats = builder.node("Cast", [mask], path, to=TensorProto.FLOAT)
    absent = builder.node("Sub", [builder.number(1.0), floats], path)
    scores = builder.node("Mul", [absent, builder.number(MASKED)], path)
    return builder.node("Unsqueeze", [scores, builder.integers(1, 2)], path)


def output_projection(builder: GraphBuilder, states: str, table: str, *, is_shared: bool, output: str) -> None:
    """Adds the output projection: states `(rows, width)` to the logits `output`, `(rows, vocabulary)`.

    If the projection `is_shared`, it reads the bytes of the embedding `table`, `(vocabulary, width)`, and the runtime
    transposes the matrix when it loads the graph. Otherwise a transposed copy is stored.
    """
    if is_shared:
        matrix = builder.node("Transpose", [builder.weight(table)], LM_HEAD, perm=[1, 0])
    else:
        matrix = builder.matrix(table)
    builder.node("MatMul", [states, matrix], LM_HEAD, output)
