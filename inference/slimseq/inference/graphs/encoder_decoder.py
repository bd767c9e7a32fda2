"""The graphs of an encoder-decoder model of any family: what its `Architecture` says, operator by operator.

`slimseq.inference.graphs.export` calls it. A part is an attention, a recurrent cell or a feed-forward. Norms are root
mean square or layer norms, before or behind each part. Positions are relative, learned or sinusoidal. Feed-forwards are
plain or gated. Names of nodes follow the modules that they compute; quantizers find nodes by them.
"""

from onnx import TensorProto

from slimseq.inference.graphs.attention import cache_slots, cross_attention, own_attention, source_attention
from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.caches import CAPACITY, ROWS, add_decoder_inputs, add_decoder_outputs, add_encoder_inputs
from slimseq.inference.graphs.cross_attention_cache import INPUTS, CrossAttentionCache, FloatCrossAttentionCache
from slimseq.inference.graphs.position_bias import source_bias, token_bias
from slimseq.inference.graphs.tensor_names import (
    DISTANCES,
    LM_HEAD,
    LOGITS,
    POSITIONS,
    SELF_ATTENTION_BIAS,
    past,
    past_state,
    present,
)
from slimseq.inference.graphs.transformer_layers import (
    activate,
    linear,
    masked_scores,
    output_projection,
    recurrent_cell,
)
from slimseq.inference.models.architecture import Architecture, Cell, FeedForward, Stack


class EncoderDecoderGraphs:
    """Adds a model's operators to graphs.

    If `is_projection_shared`, a tied output projection reads the embedding's bytes.
    """

    def __init__(
        self, architecture: Architecture, *, is_projection_shared: bool, cross_attention: CrossAttentionCache
    ) -> None:
        self._model = architecture
        self._is_projection_shared = architecture.is_tied and is_projection_shared
        self._cell_width = architecture.width if architecture.decoder.is_recurrent else 0
        # Groups of rows follow the shape of self-attention's bias, which a recurrent decoder has not.
        is_simple = self._cell_width and cross_attention.are_queries_grouped
        self._cross_attention = FloatCrossAttentionCache() if is_simple else cross_attention

    def add_encoder(self, builder: GraphBuilder) -> None:
        """Adds the encoder graph, from ids and mask to cross-attention caches."""
        model = self._model
        add_encoder_inputs(builder)
        mask = masked_scores(builder, "attention_mask")
        # What is added to attention scores: the mask, and the position biases of a T5, which later layers share.
        added = mask
        # Relative positions are no embeddings.
        positions = "" if model.buckets else _all_positions(builder)
        states = self._embed(builder, positions, model.encoder)
        for layer in model.encoder.layers:
            [attention] = layer.attentions
            if attention.position_bias is not None and model.buckets is not None:
                bias = source_bias(builder, attention.position_bias, model.buckets)
                added = builder.node("Add", [bias, mask], builder.path(attention.position_bias))
            read = self._before(builder, states, attention.norm)
            attended = source_attention(builder, read, attention, added)
            states = self._after(builder, states, attended, attention.norm)
            states = self._feed_forward(builder, states, layer.feed_forward)
        states = self._end(builder, states, model.encoder)
        for number, layer in enumerate(model.decoder.layers):
            if layer.cross_attention is not None:
                self._cross_attention.store(builder, states, layer.cross_attention, number)
                self._cross_attention.add_outputs(builder, number, layer.cross_attention.heads)

    def add_decoder(self, builder: GraphBuilder) -> None:
        """Adds the decoder graph, from one token a row and caches to logits and caches with that token."""
        model = self._model
        add_decoder_inputs(builder, model.decoder, self._cross_attention, self._cell_width)
        if model.buckets is not None:
            builder.input(DISTANCES, [INPUTS, "distance_groups", "distance_rows", CAPACITY])
        else:
            builder.input(POSITIONS, [ROWS])
        states = self._embed(builder, POSITIONS, model.decoder)
        added = SELF_ATTENTION_BIAS
        most_heads = max((attention.heads.count for attention in model.decoder.self_attentions), default=0)
        for number, layer in enumerate(model.decoder.layers):
            own = layer.self_attention
            read = self._before(builder, states, own.norm)
            if isinstance(own, Cell):
                change = recurrent_cell(builder, read, own, past_state(number))
            else:
                # A layer without position biases shares the biases of an earlier layer.
                if own.position_bias is not None and model.buckets is not None:
                    added = token_bias(builder, own.position_bias, model.buckets)
                caches, written = past(number, "decoder"), present(number, "decoder")
                slots = cache_slots(builder, own.heads.count, most_heads)
                change = own_attention(builder, read, own, added, slots, caches, written)
            states = self._after(builder, states, change, own.norm)
            cross = layer.cross_attention
            if cross is not None:
                read = self._before(builder, states, cross.norm)
                attended = cross_attention(builder, read, cross, self._cross_attention, number)
                states = self._after(builder, states, attended, cross.norm)
            states = self._feed_forward(builder, states, layer.feed_forward)
        self._add_logits(builder, self._end(builder, states, model.decoder))

    def _add_logits(self, builder: GraphBuilder, states: str) -> None:
        model = self._model
        if model.output_scale != 1.0:
            states = builder.node("Mul", [states, builder.number(model.output_scale)], "")
        product = LOGITS if model.output_bias is None else f"{LM_HEAD}/logits"
        output_projection(builder, states, model.output_table, is_shared=self._is_projection_shared, output=product)
        if model.output_bias is not None:
            builder.node("Add", [product, builder.weight(model.output_bias)], LM_HEAD, LOGITS)
        vocabulary = builder.weights.shape(model.output_table)[0]
        add_decoder_outputs(builder, model.decoder, vocabulary, self._cell_width)

    def _embed(self, builder: GraphBuilder, positions: str, stack: Stack) -> str:
        """Returns embeddings of `input_ids`, and of absolute `positions` `(length,)` if any: `(..., length, width)`."""
        model = self._model
        path = builder.path(f"{stack.module}.embed_tokens")
        states = builder.node("Gather", [builder.weight(stack.tokens), "input_ids"], path)
        if model.embedding_scale != 1.0:
            states = builder.node("Mul", [states, builder.number(model.embedding_scale)], path)
        if model.starts_from_zero and stack is model.decoder:
            # 0 for the first position, else 1.
            is_later = builder.node("Greater", [positions, builder.integer(0)], path)
            factor = builder.node("Cast", [is_later], path, to=TensorProto.FLOAT)
            factor_of_states = builder.node("Unsqueeze", [factor, builder.integers(1)], path)
            states = builder.node("Mul", [states, factor_of_states], path)
        if model.buckets is None:
            located = self._embed_positions(builder, positions, stack)
            states = builder.node("Add", [states, located], builder.path(f"{stack.module}.embed"))
        return states if stack.embedding_norm is None else self._norm(builder, states, stack.embedding_norm)

    def _embed_positions(self, builder: GraphBuilder, positions: str, stack: Stack) -> str:
        model = self._model
        path = builder.path(f"{stack.module}.embed_positions")
        if stack.positions is None:
            table = builder.stored("sines", lambda: model.sinusoidal_positions(model.max_positions, model.width))
        else:
            table = builder.weight(f"{stack.positions}.weight")
            if model.position_offset:
                positions = builder.node("Add", [positions, builder.integers(model.position_offset)], path)
        return builder.node("Gather", [table, positions], path)

    def _feed_forward(self, builder: GraphBuilder, states: str, names: FeedForward) -> str:
        read = self._before(builder, states, names.norm)
        up, *gates = (linear(builder, read, module) for module in names.up)
        inner = activate(builder, up, self._model.activation, builder.path(names.activation))
        for gate in gates:
            inner = builder.node("Mul", [inner, gate], builder.path(names.down.rpartition(".")[0]))
        return self._after(builder, states, linear(builder, inner, names.down), names.norm)

    def _before(self, builder: GraphBuilder, states: str, norm: str) -> str:
        """Returns what a part reads: states normed where norms stand before parts."""
        return self._norm(builder, states, norm) if self._model.is_pre_norm else states

    def _after(self, builder: GraphBuilder, states: str, change: str, norm: str) -> str:
        """Adds a part's change to states, and norms the sum where norms stand behind parts."""
        # The node has the name of the norm, or of the module around a T5's norm.
        changed = builder.node("Add", [states, change], builder.path(norm.removesuffix(".layer_norm")))
        return changed if self._model.is_pre_norm else self._norm(builder, changed, norm)

    def _end(self, builder: GraphBuilder, states: str, stack: Stack) -> str:
        """Norms a stack's last states where it has a norm for them."""
        return states if stack.final_norm is None else self._norm(builder, states, stack.final_norm)

    def _norm(self, builder: GraphBuilder, states: str, module: str) -> str:
        """Norms states: by layer normalization, or by the root of the mean square.

        The latter (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467) is written in the operators that ONNX
        Runtime fuses to one.
        """
        path, weight, epsilon = builder.path(module), f"{module}.weight", self._model.norm_epsilon
        if self._model.norm == "layer":
            inputs = [states, builder.weight(weight), builder.weight(f"{module}.bias")]
            return builder.node("LayerNormalization", inputs, path, axis=-1, epsilon=epsilon)
        squares = builder.node("Pow", [states, builder.number(2.0)], path)
        mean = builder.node("ReduceMean", [squares, builder.integers(-1)], path, keepdims=1)
        nonzero = builder.node("Add", [mean, builder.number(epsilon)], path)
        normed = builder.node("Div", [states, builder.node("Sqrt", [nonzero], path)], path)
        return builder.node("Mul", [normed, builder.weight(weight)], path)


def _all_positions(builder: GraphBuilder) -> str:
    """Returns 0, 1, 2, … for the length of `input_ids`, `(length,)`, int64."""
    path = "/embed_positions"
    length = builder.node("Squeeze", [builder.node("Shape", ["input_ids"], path, start=1, end=2)], path)
    return builder.node("Range", [builder.integer(0), length, builder.integer(1)], path)
