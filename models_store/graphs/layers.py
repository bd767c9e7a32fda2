"""What both families' graphs are made of beside attention: linear layers, activations, masks, the output matrix."""

from onnx import TensorProto

from models_store.errors import BadSource
from models_store.graphs.builder import GraphBuilder
from models_store.graphs.names import MASKED


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
