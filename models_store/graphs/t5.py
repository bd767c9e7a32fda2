"""A T5's graphs: RMS norms before each part, relative position biases, plain or gated feed-forwards."""

from typing import Any

from models_store.anatomy import FeedForward, t5_stack
from models_store.graphs.attention import cross_attention, own_attention, source_attention, source_caches
from models_store.graphs.builder import GraphBuilder
from models_store.graphs.caches import (
    LOGITS,
    add_cross_outputs,
    add_decoder_inputs,
    add_decoder_outputs,
    add_encoder_inputs,
    past,
    present,
)
from models_store.graphs.heads import Heads
from models_store.graphs.layers import activate, linear, masked_scores, output_projection
from models_store.graphs.position_bias import Buckets, source_bias, token_bias
from models_store.graphs.weights import Weights

ENCODER_ROOT = "encoder."
TABLE = "shared.weight"
OUTPUT_TABLE = "lm_head.weight"
# What T5Config of transformers takes for keys that a configuration leaves out.
DEFAULTS: dict[str, Any] = {
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "tie_word_embeddings": True,
}


class T5Graphs:
    """Adds a T5's operators to graphs.

    Args:
        config: what `config.json` says.
        weights: the model's tensors.
        is_projection_shared: whether a tied output projection reads the embedding's bytes.
    """

    encoder_root = ENCODER_ROOT

    def __init__(self, config: dict[str, Any], weights: Weights, *, is_projection_shared: bool) -> None:
        self._config = config = DEFAULTS | config
        # As in T5Config: two keys follow from a third, if they are not there, and `gated-gelu` is the approximation.
        gate, _, activation = config["feed_forward_proj"].rpartition("-")
        activation = "gelu_new" if (gate, activation) == ("gated", "gelu") else activation
        self._is_gated = bool(config.get("is_gated_act", gate == "gated"))
        self._activation = config.get("dense_act_fn", activation)
        layers = config["num_layers"]
        self._encoder = t5_stack("encoder", layers, self._is_gated)
        self._decoder = t5_stack("decoder", config.get("num_decoder_layers") or layers, self._is_gated)
        self._heads = Heads(config["num_heads"], config["d_kv"])
        self._buckets = Buckets(config["relative_attention_num_buckets"], config["relative_attention_max_distance"])
        self._is_tied = bool(config["tie_word_embeddings"])
        self._is_projection_shared = self._is_tied and is_projection_shared
        self._table = weights.first_of(TABLE, "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")

    def add_encoder(self, builder: GraphBuilder) -> None:
        """Adds ids and mask to cross-attention caches."""
        add_encoder_inputs(builder)
        added = masked_scores(builder, "attention_mask")
        states = builder.node("Gather", [builder.weight(self._table), "input_ids"], "/embed_tokens")
        for number, layer in enumerate(self._encoder.layers):
            attention = layer.self_attention
            if attention.position_bias is not None:
                bias = source_bias(builder, attention.position_bias, self._buckets)
                added = builder.node("Add", [bias, added], builder.path(attention.position_bias))
            name = f"encoder.block.{number}.layer"
            normed = self._norm(builder, states, f"{name}.0.layer_norm")
            attended = source_attention(builder, normed, attention, self._heads, added)
            states = _add(builder, states, attended, f"{name}.0")
            states = self._feed_forward(builder, states, layer.feed_forward, f"{name}.1")
        states = self._norm(builder, states, "encoder.final_layer_norm")
        for number, layer in enumerate(self._decoder.layers):
            if layer.cross_attention is not None:
                source_caches(builder, states, layer.cross_attention, self._heads, present(number, "encoder"))
        add_cross_outputs(builder, len(self._decoder.layers), self._heads)

    def add_decoder(self, builder: GraphBuilder) -> None:
        """Adds one token a row and caches to logits and caches with that token."""
        add_decoder_inputs(builder, len(self._decoder.layers), self._heads)
        states = builder.node("Gather", [builder.weight(self._table), "input_ids"], "/decoder/embed_tokens")
        added = ""
        for number, layer in enumerate(self._decoder.layers):
            attention, cross = layer.self_attention, layer.cross_attention
            own = past(number, "decoder")
            if attention.position_bias is not None:
                added = token_bias(builder, attention.position_bias, self._buckets, own[0])
            name = f"decoder.block.{number}.layer"
            normed = self._norm(builder, states, f"{name}.0.layer_norm")
            written = present(number, "decoder")
            attended = own_attention(builder, normed, attention, self._heads, added, own, written)
            states = _add(builder, states, attended, f"{name}.0")
            if cross is not None:
                normed = self._norm(builder, states, f"{name}.1.layer_norm")
                attended = cross_attention(builder, normed, cross, self._heads, past(number, "encoder"))
                states = _add(builder, states, attended, f"{name}.1")
            states = self._feed_forward(builder, states, layer.feed_forward, f"{name}.2")
        states = self._norm(builder, states, "decoder.final_layer_norm")
        table = OUTPUT_TABLE
        if self._is_tied:
            table = self._table
            states = builder.node("Mul", [states, builder.number(self._config["d_model"] ** -0.5)], "")
        output_projection(builder, states, table, is_shared=self._is_projection_shared, output=LOGITS)
        vocabulary = builder.weights.shape(table)[0]
        add_decoder_outputs(builder, len(self._decoder.layers), self._heads, vocabulary)

    def _feed_forward(self, builder: GraphBuilder, states: str, names: FeedForward, layer: str) -> str:
        normed = self._norm(builder, states, f"{layer}.layer_norm")
        path = builder.path(names.down.rpartition(".")[0])
        up, *gates = (linear(builder, normed, module) for module in names.up)
        inner = activate(builder, up, self._activation, f"{path}/act")
        for gate in gates:
            inner = builder.node("Mul", [inner, gate], path)
        return _add(builder, states, linear(builder, inner, names.down), layer)

    def _norm(self, builder: GraphBuilder, states: str, module: str) -> str:
        """Divides by the root of the mean square (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467).

        In the operators that the runtime makes one of.
        """
        path = builder.path(module)
        squares = builder.node("Pow", [states, builder.number(2.0)], path)
        mean = builder.node("ReduceMean", [squares, builder.integers(-1)], path, keepdims=1)
        safe = builder.node("Add", [mean, builder.number(self._config["layer_norm_epsilon"])], path)
        normed = builder.node("Div", [states, builder.node("Sqrt", [safe], path)], path)
        return builder.node("Mul", [normed, builder.weight(f"{module}.weight")], path)


def _add(builder: GraphBuilder, states: str, change: str, layer: str) -> str:
    return builder.node("Add", [states, change], builder.path(layer))
