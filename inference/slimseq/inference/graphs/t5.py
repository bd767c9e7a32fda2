"""A T5's graphs: RMS norms before each part, relative position biases, plain or gated feed-forwards."""

from slimseq.inference.graphs.attention import cross_attention, own_attention, source_attention
from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.caches import CAPACITY, add_decoder_inputs, add_decoder_outputs, add_encoder_inputs
from slimseq.inference.graphs.cross_attention_cache import INPUTS, CrossAttentionCache
from slimseq.inference.graphs.layers import activate, linear, masked_scores, output_projection
from slimseq.inference.graphs.names import DISTANCES, LOGITS, past, present
from slimseq.inference.graphs.position_bias import source_bias, token_bias
from slimseq.inference.models.anatomy import FeedForward
from slimseq.inference.models.architecture import Architecture


class T5Graphs:
    """Adds a T5's operators to graphs.

    Args:
        architecture: the model's switches.
        is_projection_shared: whether a tied output projection reads the embedding's bytes.
        cross_attention: how the source's keys and values are kept.
    """

    encoder_root = "encoder."

    def __init__(
        self, architecture: Architecture, *, is_projection_shared: bool, cross_attention: CrossAttentionCache
    ) -> None:
        assert architecture.buckets is not None, "a T5's positions are relative"
        self._model = architecture
        self._buckets = architecture.buckets
        self._is_projection_shared = architecture.is_tied and is_projection_shared
        self._cross_attention = cross_attention

    def add_encoder(self, builder: GraphBuilder) -> None:
        """Adds ids and mask to cross-attention caches."""
        model = self._model
        add_encoder_inputs(builder)
        added = masked_scores(builder, "attention_mask")
        states = builder.node("Gather", [builder.weight(model.tables["encoder"]), "input_ids"], "/embed_tokens")
        for number, layer in enumerate(model.encoder.layers):
            attention = layer.self_attention
            if attention.position_bias is not None:
                bias = source_bias(builder, attention.position_bias, self._buckets)
                added = builder.node("Add", [bias, added], builder.path(attention.position_bias))
            name = f"encoder.block.{number}.layer"
            normed = self._norm(builder, states, f"{name}.0.layer_norm")
            attended = source_attention(builder, normed, attention, model.encoder_heads, added)
            states = _add(builder, states, attended, f"{name}.0")
            states = self._feed_forward(builder, states, layer.feed_forward, f"{name}.1")
        states = self._norm(builder, states, "encoder.final_layer_norm")
        for number, layer in enumerate(model.decoder.layers):
            if layer.cross_attention is not None:
                self._cross_attention.store(builder, states, layer.cross_attention, model.decoder_heads, number)
                self._cross_attention.add_outputs(builder, number, model.decoder_heads)

    def add_decoder(self, builder: GraphBuilder) -> None:
        """Adds one token a row and caches to logits and caches with that token."""
        model, heads = self._model, self._model.decoder_heads
        add_decoder_inputs(builder, len(model.decoder.layers), heads, self._cross_attention)
        builder.input(DISTANCES, [INPUTS, CAPACITY])
        states = builder.node("Gather", [builder.weight(model.tables["decoder"]), "input_ids"], "/decoder/embed_tokens")
        added = ""
        for number, layer in enumerate(model.decoder.layers):
            attention, cross = layer.self_attention, layer.cross_attention
            own = past(number, "decoder")
            if attention.position_bias is not None:
                added = token_bias(builder, attention.position_bias, self._buckets)
            name = f"decoder.block.{number}.layer"
            normed = self._norm(builder, states, f"{name}.0.layer_norm")
            written = present(number, "decoder")
            attended = own_attention(builder, normed, attention, heads, added, own, written)
            states = _add(builder, states, attended, f"{name}.0")
            if cross is not None:
                normed = self._norm(builder, states, f"{name}.1.layer_norm")
                attended = cross_attention(builder, normed, cross, heads, self._cross_attention, number)
                states = _add(builder, states, attended, f"{name}.1")
            states = self._feed_forward(builder, states, layer.feed_forward, f"{name}.2")
        states = self._norm(builder, states, "decoder.final_layer_norm")
        if model.output_scale != 1.0:
            states = builder.node("Mul", [states, builder.number(model.output_scale)], "")
        output_projection(builder, states, model.output_table, is_shared=self._is_projection_shared, output=LOGITS)
        vocabulary = builder.weights.shape(model.output_table)[0]
        add_decoder_outputs(builder, len(model.decoder.layers), heads, vocabulary)

    def _feed_forward(self, builder: GraphBuilder, states: str, names: FeedForward, layer: str) -> str:
        normed = self._norm(builder, states, f"{layer}.layer_norm")
        path = builder.path(names.down.rpartition(".")[0])
        up, *gates = (linear(builder, normed, module) for module in names.up)
        inner = activate(builder, up, self._model.activation, f"{path}/act")
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
        safe = builder.node("Add", [mean, builder.number(self._model.norm_epsilon)], path)
        normed = builder.node("Div", [states, builder.node("Sqrt", [safe], path)], path)
        return builder.node("Mul", [normed, builder.weight(f"{module}.weight")], path)


def _add(builder: GraphBuilder, states: str, change: str, layer: str) -> str:
    return builder.node("Add", [states, change], builder.path(layer))
