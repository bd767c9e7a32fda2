"""Attention layers, made of the building blocks in `slimseq.inference.graphs.transformer_layers`.

The encoder's attention lets every position of a source attend to every other. The decoder has two attentions: one token
a row attends to the tokens before it, and to the source. Both read caches that all rows of an input share.
"""

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache
from slimseq.inference.graphs.tensor_names import CACHE_SLOTS, CROSS_ATTENTION_BIAS, SELF_ATTENTION_BIAS
from slimseq.inference.graphs.transformer_layers import attend, attend_in_groups, linear
from slimseq.inference.models.architecture import Attention, Heads


def source_attention(builder: GraphBuilder, states: str, names: Attention, added: str | None) -> str:
    """Lets every position of a source attend to every other; returns a value like `states`, with nothing added to it.

    `states` are `(rows, length, width)`, float32. `added`, `(rows, heads or 1, length or 1, length)`, goes to the
    scores.
    """
    path = builder.path(names.query.rpartition(".")[0])
    heads = names.heads
    query = _split_heads(builder, linear(builder, states, names.query, heads.scale), heads, path)
    key = _split_heads(builder, linear(builder, states, names.key), heads, path)
    value = _split_heads(builder, linear(builder, states, names.value), heads, path)
    transposed_key = builder.node("Transpose", [key], path, perm=[0, 1, 3, 2])
    context = attend(builder, query, transposed_key, value, added, path)
    heads_last = builder.node("Transpose", [context], path, perm=[0, 2, 1, 3])
    joined = builder.node("Reshape", [heads_last, builder.integers(0, 0, heads.count * heads.width)], path)
    return linear(builder, joined, names.output)


def cache_slots(builder: GraphBuilder, heads: int, most_heads: int) -> str:
    """Returns the indices of a layer's new keys and values, `(rows, heads, 4)`, int64.

    The graph's input has those of the layer with most heads. A layer with fewer takes the first ones.
    """
    if heads == most_heads:
        return CACHE_SLOTS
    bounds = (builder.integers(number) for number in (0, heads, 1))
    path = "/cache_slots"
    return builder.once(f"cache slots of {heads} heads", lambda: builder.node("Slice", [CACHE_SLOTS, *bounds], path))


def own_attention(
    builder: GraphBuilder,
    states: str,
    names: Attention,
    added: str,
    slots: str,
    caches: tuple[str, str],
    written: tuple[str, str],
) -> str:
    """Lets one token a row attend to itself and to what is cached of its row; returns a value like `states`.

    - `states`: `(rows, width)`, float32.
    - `added`, the bias of the scores: `(inputs, heads or 1, groups, rows a group, capacity)`. It masks the
      slots of other rows.
    - `slots`, where the new keys and values go: see `cache_slots`.
    - `caches`, names of keys and values before the step: both `(inputs, heads, 1, capacity, width)`.
    - `written`, names for both after the step, with keys and values of the new tokens in their slots.
    """
    path, heads = builder.path(names.query.rpartition(".")[0]), names.heads
    query = _queries(builder, states, names, path, are_grouped=True)
    for name, cache, output in zip((names.key, names.value), caches, written, strict=True):
        shape = builder.integers(-1, heads.count, heads.width)
        new = builder.node("Reshape", [linear(builder, states, name), shape], path)
        builder.node("ScatterND", [cache, slots, new], path, output)
    context = attend_in_groups(builder, query, written, added, path)
    return _join_heads(builder, context, names, path, are_grouped=True)


def cross_attention(
    builder: GraphBuilder, states: str, names: Attention, cross_attention: CrossAttentionCache, layer: int
) -> str:
    """Lets one token a row attend to its input's source; the rows of one input share the keys and values of a layer.

    `states` are `(rows, width)`, float32. So is the returned value, with nothing of `states` added to it.
    """
    path = builder.path(names.query.rpartition(".")[0])
    query = _queries(builder, states, names, path, are_grouped=cross_attention.are_queries_grouped)
    context = cross_attention.attend(builder, query, names.heads, layer, path)
    return _join_heads(builder, context, names, path, are_grouped=cross_attention.are_queries_grouped)


def _queries(builder: GraphBuilder, states: str, names: Attention, path: str, *, are_grouped: bool) -> str:
    """Projects `(rows, width)` to queries by input: `(inputs, heads, rows an input, width)`.

    With rows in groups they are `(inputs, heads, groups, rows a group, width)`.
    """
    heads = names.heads
    shape = builder.once(f"queries, {heads.count}, {are_grouped}", lambda: _query_shape(builder, heads, are_grouped))
    split = builder.node("Reshape", [linear(builder, states, names.query, heads.scale), shape], path)
    return builder.node("Transpose", [split], path, perm=[0, 3, 1, 2, 4] if are_grouped else [0, 2, 1, 3])


def _query_shape(builder: GraphBuilder, heads: Heads, are_grouped: bool) -> str:
    """Returns the shape of queries by input: `(inputs, rows an input or groups of them, heads, width)`."""
    path = "/queries"
    inputs = builder.node("Shape", [CROSS_ATTENTION_BIAS], path, start=0, end=1)
    rows = builder.node("Shape", [SELF_ATTENTION_BIAS], path, start=2, end=4) if are_grouped else builder.integers(-1)
    return builder.node("Concat", [inputs, rows, builder.integers(heads.count, heads.width)], path, axis=0)


def _split_heads(builder: GraphBuilder, states: str, heads: Heads, path: str) -> str:
    """Turns `(rows, length, heads * width)` into `(rows, heads, length, width)`."""
    split = builder.node("Reshape", [states, builder.integers(0, 0, heads.count, heads.width)], path)
    return builder.node("Transpose", [split], path, perm=[0, 2, 1, 3])


def _join_heads(builder: GraphBuilder, context: str, names: Attention, path: str, *, are_grouped: bool) -> str:
    """Turns contexts that are like queries into `(rows, heads * width)` and projects them."""
    heads_last = builder.node("Transpose", [context], path, perm=[0, 2, 3, 1, 4] if are_grouped else [0, 2, 1, 3])
    joined = builder.node("Reshape", [heads_last, builder.integers(-1, names.heads.count * names.heads.width)], path)
    return linear(builder, joined, names.output)
