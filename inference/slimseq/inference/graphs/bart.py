"""Graphs of a BART and its kin: layer norms, biases everywhere, learned or sinusoidal positions.

mBART norms before each part and behind each stack, PEGASUS does too and knows positions by sines, and so does Marian,
which norms as BART does.
"""

from slimseq.inference.graphs.attention import cross_attention, own_attention, source_attention
from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.caches import ROWS, add_decoder_inputs, add_decoder_outputs, add_encoder_inputs
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache
from slimseq.inference.graphs.layers import activate, linear, masked_scores, output_projection
from slimseq.inference.graphs.names import LOGITS, POSITIONS, SELF_ATTENTION_BIAS, past, present
from slimseq.inference.graphs.sinusoidal_positions import sinusoidal_positions
from slimseq.inference.models.anatomy import FeedForward, Stack
from slimseq.inference.models.architecture import OUTPUT_BIAS, Architecture


class BartGraphs:
    """Adds a BART's operators to graphs.

    Args:
        architecture: the model's switches.
        is_projection_shared: whether a tied output projection reads the embedding's bytes.
        cross_attention: how the source's keys and values are kept.
    """

    encoder_root = "model.encoder."

    def __init__(
        self, architecture: Architecture, *, is_projection_shared: bool, cross_attention: CrossAttentionCache
    ) -> None:
        self._model = architecture
        self._is_projection_shared = architecture.is_tied and is_projection_shared
        self._cross_attention = cross_attention

    def add_encoder(self, builder: GraphBuilder) -> None:
        """Adds ids and mask to cross-attention caches."""
        model = self._model
        add_encoder_inputs(builder)
        mask = masked_scores(builder, "attention_mask")
        path = "/embed_positions"
        length = builder.node("Squeeze", [builder.node("Shape", ["input_ids"], path, start=1, end=2)], path)
        positions = builder.node("Range", [builder.integer(0), length, builder.integer(1)], path)
        states = self._embed(builder, positions, model.encoder)
        for layer in model.encoder.layers:
            norm = f"{layer.name}.self_attn_layer_norm"
            read = self._before(builder, states, norm)
            attended = source_attention(builder, read, layer.self_attention, model.encoder_heads, mask)
            states = self._after(builder, states, attended, norm)
            states = self._feed_forward(builder, states, layer.feed_forward, layer.name)
        states = self._end(builder, states, model.encoder)
        for number, layer in enumerate(model.decoder.layers):
            if layer.cross_attention is not None:
                self._cross_attention.store(builder, states, layer.cross_attention, model.decoder_heads, number)
                self._cross_attention.add_outputs(builder, number, model.decoder_heads)

    def add_decoder(self, builder: GraphBuilder) -> None:
        """Adds one token a row and caches to logits and caches with that token."""
        model, heads = self._model, self._model.decoder_heads
        add_decoder_inputs(builder, len(model.decoder.layers), heads, self._cross_attention)
        builder.input(POSITIONS, [ROWS])
        states = self._embed(builder, POSITIONS, model.decoder)
        for number, layer in enumerate(model.decoder.layers):
            norm = f"{layer.name}.self_attn_layer_norm"
            read = self._before(builder, states, norm)
            own, written = past(number, "decoder"), present(number, "decoder")
            attended = own_attention(builder, read, layer.self_attention, heads, SELF_ATTENTION_BIAS, own, written)
            states = self._after(builder, states, attended, norm)
            if layer.cross_attention is not None:
                norm = f"{layer.name}.encoder_attn_layer_norm"
                read = self._before(builder, states, norm)
                attended = cross_attention(builder, read, layer.cross_attention, heads, self._cross_attention, number)
                states = self._after(builder, states, attended, norm)
            states = self._feed_forward(builder, states, layer.feed_forward, layer.name)
        self._add_logits(builder, self._end(builder, states, model.decoder))

    def _add_logits(self, builder: GraphBuilder, states: str) -> None:
        model = self._model
        product = "/lm_head/logits" if model.has_output_bias else LOGITS
        output_projection(builder, states, model.output_table, is_shared=self._is_projection_shared, output=product)
        if model.has_output_bias:
            builder.node("Add", [product, builder.weight(OUTPUT_BIAS)], "/lm_head", LOGITS)
        vocabulary = builder.weights.shape(model.output_table)[0]
        add_decoder_outputs(builder, len(model.decoder.layers), model.decoder_heads, vocabulary)

    def _embed(self, builder: GraphBuilder, positions: str, stack: Stack) -> str:
        """Returns embeddings of `input_ids` with those of `positions`, `(length,)`, added: `(..., length, width)`."""
        model = self._model
        path = builder.path(f"model.{stack.name}.embed_tokens")
        states = builder.node("Gather", [builder.weight(model.tables[stack.name]), "input_ids"], path)
        if model.embedding_scale != 1.0:
            states = builder.node("Mul", [states, builder.number(model.embedding_scale)], path)
        module = f"model.{stack.name}.embed_positions"
        path = builder.path(module)
        if model.has_sinusoidal_positions:
            table = builder.stored("sines", lambda: sinusoidal_positions(model.max_positions, model.width))
        else:
            table = builder.weight(f"{module}.weight")
            if unused := model.position_rows(builder.weights, stack):
                positions = builder.node("Add", [positions, builder.integers(unused)], path)
        told = builder.node("Gather", [table, positions], path)
        states = builder.node("Add", [states, told], builder.path(f"model.{stack.name}.embed"))
        if not model.has_embedding_norm:
            return states
        return self._norm(builder, states, f"model.{stack.name}.layernorm_embedding")

    def _feed_forward(self, builder: GraphBuilder, states: str, names: FeedForward, layer: str) -> str:
        norm = f"{layer}.final_layer_norm"
        inner = linear(builder, self._before(builder, states, norm), names.up[0])
        inner = activate(builder, inner, self._model.activation, builder.path(f"{layer}.activation_fn"))
        return self._after(builder, states, linear(builder, inner, names.down), norm)

    def _before(self, builder: GraphBuilder, states: str, norm: str) -> str:
        """Returns what a part reads: states normed where norms stand before parts."""
        return self._norm(builder, states, norm) if self._model.is_pre_norm else states

    def _after(self, builder: GraphBuilder, states: str, change: str, norm: str) -> str:
        """Adds a part's change to states, and norms the sum where norms stand behind parts."""
        changed = builder.node("Add", [states, change], builder.path(norm))
        return changed if self._model.is_pre_norm else self._norm(builder, changed, norm)

    def _end(self, builder: GraphBuilder, states: str, stack: Stack) -> str:
        """Norms a stack's last states where each part's norm stands before it."""
        return self._norm(builder, states, f"model.{stack.name}.layer_norm") if self._model.is_pre_norm else states

    def _norm(self, builder: GraphBuilder, states: str, module: str) -> str:
        inputs = [states, builder.weight(f"{module}.weight"), builder.weight(f"{module}.bias")]
        path = builder.path(module)
        return builder.node("LayerNormalization", inputs, path, axis=-1, epsilon=self._model.norm_epsilon)
