"""A BART's graphs: layer norms after each part, learned positions, biases everywhere."""

from typing import Any

import numpy as np

from models_store.anatomy import FeedForward, Stack, bart_stack
from models_store.graphs.attention import cross_attention, own_attention, source_attention, source_caches
from models_store.graphs.builder import GraphBuilder
from models_store.graphs.caches import (
    LOGITS,
    POSITIONS,
    add_cross_outputs,
    add_decoder_inputs,
    add_decoder_outputs,
    add_encoder_inputs,
    past,
    present,
)
from models_store.graphs.heads import Heads
from models_store.graphs.layers import (
    MASKED,
    activate,
    capacity_positions,
    linear,
    masked_scores,
    output_projection,
)
from models_store.graphs.weights import Weights

ENCODER_ROOT = "model.encoder."
TABLE = "model.shared.weight"
OUTPUT_TABLE = "lm_head.weight"
OUTPUT_BIAS = "final_logits_bias"
# Learned positions start behind two rows that stand for nothing.
POSITION_OFFSET = 2
# What torch's LayerNorm takes where nobody says otherwise, and BART says nothing.
NORM_EPSILON = 1e-5
# What BartConfig of transformers takes for keys that a configuration leaves out.
DEFAULTS: dict[str, Any] = {
    "activation_function": "gelu",
    "scale_embedding": False,
    "tie_word_embeddings": True,
}


class BartGraphs:
    """Adds a BART's operators to graphs.

    Args:
        config: what `config.json` says.
        weights: the model's tensors.
        is_projection_shared: whether a tied output projection reads the embedding's bytes.
    """

    encoder_root = ENCODER_ROOT

    def __init__(self, config: dict[str, Any], weights: Weights, *, is_projection_shared: bool) -> None:
        self._config = config = DEFAULTS | config
        width = config["d_model"]
        self._encoder = bart_stack("encoder", config["encoder_layers"])
        self._decoder = bart_stack("decoder", config["decoder_layers"])
        self._encoder_heads, self._decoder_heads = (
            Heads(count, width // count, (width // count) ** -0.5)
            for count in (config["encoder_attention_heads"], config["decoder_attention_heads"])
        )
        self._is_tied = bool(config["tie_word_embeddings"])
        self._is_projection_shared = self._is_tied and is_projection_shared
        self._weights = weights

    def add_encoder(self, builder: GraphBuilder) -> None:
        """Adds ids and mask to cross-attention caches."""
        add_encoder_inputs(builder)
        mask = masked_scores(builder, "attention_mask")
        path = "/embed_positions"
        length = builder.node("Squeeze", [builder.node("Shape", ["input_ids"], path, start=1, end=2)], path)
        positions = builder.node("Range", [builder.integer(0), length, builder.integer(1)], path)
        states = self._embed(builder, self._lookup(builder, self._encoder), positions, self._encoder)
        for layer in self._encoder.layers:
            attended = source_attention(builder, states, layer.self_attention, self._encoder_heads, mask)
            states = _add_and_norm(builder, states, attended, f"{layer.name}.self_attn_layer_norm")
            states = self._feed_forward(builder, states, layer.feed_forward, layer.name)
        for number, layer in enumerate(self._decoder.layers):
            if layer.cross_attention is not None:
                source_caches(builder, states, layer.cross_attention, self._decoder_heads, present(number, "encoder"))
        add_cross_outputs(builder, len(self._decoder.layers), self._decoder_heads)

    def add_decoder(self, builder: GraphBuilder) -> None:
        """Adds one token a row and caches to logits and caches with that token."""
        heads = self._decoder_heads
        add_decoder_inputs(builder, len(self._decoder.layers), heads)
        added = self._unwritten(builder, past(0, "decoder")[0])
        states = self._embed(builder, self._lookup(builder, self._decoder), POSITIONS, self._decoder)
        for number, layer in enumerate(self._decoder.layers):
            own, written = past(number, "decoder"), present(number, "decoder")
            attended = own_attention(builder, states, layer.self_attention, heads, added, own, written)
            states = _add_and_norm(builder, states, attended, f"{layer.name}.self_attn_layer_norm")
            if layer.cross_attention is not None:
                attended = cross_attention(builder, states, layer.cross_attention, heads, past(number, "encoder"))
                states = _add_and_norm(builder, states, attended, f"{layer.name}.encoder_attn_layer_norm")
            states = self._feed_forward(builder, states, layer.feed_forward, layer.name)
        self._add_logits(builder, states)

    @staticmethod
    def _unwritten(builder: GraphBuilder, cache: str) -> str:
        """Returns what masks a cache's positions behind each row's own, `(rows, 1, 1, capacity)`."""
        path = "/unwritten"
        queries = builder.node("Unsqueeze", [POSITIONS, builder.integers(1)], path)
        is_written = builder.node("LessOrEqual", [capacity_positions(builder, cache), queries], path)
        added = builder.node("Where", [is_written, builder.number(0.0), builder.number(MASKED)], path)
        return builder.node("Unsqueeze", [added, builder.integers(1, 2)], path)

    def _add_logits(self, builder: GraphBuilder, states: str) -> None:
        table = self._table("decoder") if self._is_tied else OUTPUT_TABLE
        has_bias = OUTPUT_BIAS in self._weights and bool(np.any(self._weights.read(OUTPUT_BIAS)))
        product = "/lm_head/logits" if has_bias else LOGITS
        output_projection(builder, states, table, is_shared=self._is_projection_shared, output=product)
        if has_bias:
            builder.node("Add", [product, builder.weight(OUTPUT_BIAS)], "/lm_head", LOGITS)
        vocabulary = self._weights.shape(table)[0]
        add_decoder_outputs(builder, len(self._decoder.layers), self._decoder_heads, vocabulary)

    def _table(self, stack: str) -> str:
        """Returns the name of a stack's embedding, of which each has its own only in a model that ties nothing."""
        names = [TABLE, f"model.{stack}.embed_tokens.weight"]
        return self._weights.first_of(*(names if self._is_tied else reversed(names)), OUTPUT_TABLE)

    def _lookup(self, builder: GraphBuilder, stack: Stack) -> str:
        """Returns the ids' embeddings, `(rows, length, width)`, scaled if the model scales them."""
        path = builder.path(f"model.{stack.name}.embed_tokens")
        states = builder.node("Gather", [builder.weight(self._table(stack.name)), "input_ids"], path)
        if self._config["scale_embedding"]:
            states = builder.node("Mul", [states, builder.number(self._config["d_model"] ** 0.5)], path)
        return states

    def _embed(self, builder: GraphBuilder, tokens: str, positions: str, stack: Stack) -> str:
        """Adds learned positions `(length,)` to embeddings `(..., length, width)` and norms the sum."""
        module = f"model.{stack.name}.embed_positions"
        path = builder.path(module)
        rows = builder.node("Add", [positions, builder.integers(POSITION_OFFSET)], path)
        learned = builder.node("Gather", [builder.weight(f"{module}.weight"), rows], path)
        states = builder.node("Add", [tokens, learned], builder.path(f"model.{stack.name}.embed"))
        return _norm(builder, states, f"model.{stack.name}.layernorm_embedding")

    def _feed_forward(self, builder: GraphBuilder, states: str, names: FeedForward, layer: str) -> str:
        inner = linear(builder, states, names.up[0])
        inner = activate(builder, inner, self._config["activation_function"], builder.path(f"{layer}.activation_fn"))
        return _add_and_norm(builder, states, linear(builder, inner, names.down), f"{layer}.final_layer_norm")


def _add_and_norm(builder: GraphBuilder, states: str, change: str, module: str) -> str:
    added = builder.node("Add", [states, change], builder.path(module.rpartition(".")[0]))
    return _norm(builder, added, module)


def _norm(builder: GraphBuilder, states: str, module: str) -> str:
    inputs = [states, builder.weight(f"{module}.weight"), builder.weight(f"{module}.bias")]
    return builder.node("LayerNormalization", inputs, builder.path(module), axis=-1, epsilon=NORM_EPSILON)
