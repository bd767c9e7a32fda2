"""Attention: over all positions of a source, and of one token over the caches."""

from dataclasses import dataclass

from models_store.anatomy import Attention
from models_store.graphs.builder import GraphBuilder
from models_store.graphs.layers import linear


@dataclass(frozen=True)
class Heads:
    """An attention's heads: how many, the width of each, and the factor of their scores."""

    count: int
    width: int
    scale: float = 1.0


def source_attention(builder: GraphBuilder, states: str, names: Attention, heads: Heads, added: str | None) -> str:
    """Lets every position of a source attend to every other.

    Args:
        builder: the graph.
        states: `(rows, length, width)`, float32.
        names: of the projections.
        heads: their shape.
        added: what to add to the scores, `(rows, heads or 1, length or 1, length)`.

    Returns:
        Like `states`, with nothing added to it.
    """
    path = builder.path(names.query.rpartition(".")[0])
    query, key, value = (
        _split_heads(builder, linear(builder, states, name), heads, path)
        for name in (names.query, names.key, names.value)
    )
    context = _attend(builder, query, key, value, heads, added, path)
    moved = builder.node("Transpose", [context], path, perm=[0, 2, 1, 3])
    joined = builder.node("Reshape", [moved, builder.integers(0, 0, heads.count * heads.width)], path)
    return linear(builder, joined, names.output)


def source_caches(builder: GraphBuilder, states: str, names: Attention, heads: Heads, outputs: tuple[str, str]) -> None:
    """Computes a decoder layer's cross-attention keys and values, `(rows, heads, length, width)`.

    Args:
        builder: the graph.
        states: the encoder's last, `(rows, length, width)`, float32.
        names: of the projections.
        heads: their shape.
        outputs: names for keys and values.
    """
    path = builder.path(names.query.rpartition(".")[0])
    for name, output in zip((names.key, names.value), outputs, strict=True):
        _split_heads(builder, linear(builder, states, name), heads, path, output)


def token_attention(
    builder: GraphBuilder,
    states: str,
    names: Attention,
    heads: Heads,
    added: str | None,
    caches: tuple[str, str],
    grown: tuple[str, str] | None,
) -> str:
    """Lets one token a row attend to cached keys and values.

    Args:
        builder: the graph.
        states: `(rows, width)`, float32.
        names: of the projections.
        heads: their shape.
        added: what to add to the scores, `(rows or 1, heads or 1, 1, keys)`.
        caches: names of keys and values, `(rows, heads, keys, width)`.
        grown: names for both with the token's own behind them, which it attends to as well; None in cross-attention.

    Returns:
        Like `states`, with nothing added to it.
    """
    path = builder.path(names.query.rpartition(".")[0])
    query = _split_token(builder, linear(builder, states, names.query), heads, path)
    key, value = caches
    if grown is not None:
        own_key, own_value = (
            _split_token(builder, linear(builder, states, name), heads, path) for name in (names.key, names.value)
        )
        key = builder.node("Concat", [key, own_key], path, grown[0], axis=2)
        value = builder.node("Concat", [value, own_value], path, grown[1], axis=2)
    context = _attend(builder, query, key, value, heads, added, path)
    joined = builder.node("Reshape", [context, builder.integers(0, heads.count * heads.width)], path)
    return linear(builder, joined, names.output)


def _split_heads(builder: GraphBuilder, states: str, heads: Heads, path: str, output: str | None = None) -> str:
    """Turns `(rows, length, heads * width)` into `(rows, heads, length, width)`."""
    split = builder.node("Reshape", [states, builder.integers(0, 0, heads.count, heads.width)], path)
    return builder.node("Transpose", [split], path, output, perm=[0, 2, 1, 3])


def _split_token(builder: GraphBuilder, states: str, heads: Heads, path: str) -> str:
    """Turns one token's `(rows, heads * width)` into `(rows, heads, 1, width)`."""
    return builder.node("Reshape", [states, builder.integers(0, heads.count, 1, heads.width)], path)


def _attend(builder: GraphBuilder, query: str, key: str, value: str, heads: Heads, added: str | None, path: str) -> str:
    """Weighs values by the softmax of scores.

    Args:
        builder: the graph.
        query: `(rows, heads, queries, width)`.
        key: `(rows, heads, keys, width)`.
        value: like `key`.
        heads: gives the scores' factor.
        added: what to add to the scores, `(rows or 1, heads or 1, queries or 1, keys)`.
        path: the attention's.

    Returns:
        `(rows, heads, queries, width)`.
    """
    turned = builder.node("Transpose", [key], path, perm=[0, 1, 3, 2])
    scores = builder.node("MatMul", [query, turned], path)
    if heads.scale != 1.0:
        scores = builder.node("Mul", [scores, builder.number(heads.scale)], path)
    if added is not None:
        scores = builder.node("Add", [scores, added], path)
    return builder.node("MatMul", [builder.node("Softmax", [scores], path, axis=-1), value], path)
