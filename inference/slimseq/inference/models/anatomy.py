"""The parts of a T5 or BART under one set of names: stacks, layers, attentions, feed-forwards.

Techniques that measure or cut parts work on these names and leave to this file what each family calls them. Names are
those of the state dict, so that a part's tensors can be sliced without touching the model.
"""

from dataclasses import dataclass

from slimseq.models_store.manifest import Family


@dataclass(frozen=True)
class Attention:
    """Names of one attention's projections (modules), and of its relative position bias where it has one."""

    query: str
    key: str
    value: str
    output: str
    position_bias: str | None = None


@dataclass(frozen=True)
class FeedForward:
    """Names of the projections up (two where gated) and of the one down."""

    up: tuple[str, ...]
    down: str


@dataclass(frozen=True)
class Layer:
    """One layer. `cross_attention` is None in an encoder. `name` is the module that holds all of it."""

    name: str
    self_attention: Attention
    cross_attention: Attention | None
    feed_forward: FeedForward

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """Self-attention, then cross-attention where there is one."""
        return (self.self_attention,) if self.cross_attention is None else (self.self_attention, self.cross_attention)

    @property
    def projections(self) -> tuple[str, ...]:
        """Names of all linear modules of the layer."""
        attentions = [
            name
            for attention in self.attentions
            for name in (attention.query, attention.key, attention.value, attention.output)
        ]
        return *attentions, *self.feed_forward.up, self.feed_forward.down


@dataclass(frozen=True)
class Stack:
    """The encoder or the decoder. `layers_name` is the module list that `layers` come from, in order."""

    name: str
    layers_name: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Anatomy:
    """The whole model.

    Args:
        family: whose names its parts have.
        encoder, decoder: their parts.
        head_dim: width of an attention head.
        is_pre_norm: whether each part reads the output of a norm of its own, and a last norm follows each stack; else
            a norm follows each part.
        has_embedding_norm: whether a norm follows the sum of embeddings and positions.
    """

    family: Family
    encoder: Stack
    decoder: Stack
    head_dim: int
    is_pre_norm: bool
    has_embedding_norm: bool

    @property
    def stacks(self) -> tuple[Stack, Stack]:
        """Encoder, decoder."""
        return self.encoder, self.decoder


def t5_stack(name: str, count: int, is_gated: bool) -> Stack:
    """Returns a T5's `encoder` or `decoder` with a number of layers."""
    layers_name = f"{name}.block"
    return Stack(name, layers_name, tuple(_t5_layer(f"{layers_name}.{i}", i, name, is_gated) for i in range(count)))


def _t5_layer(name: str, index: int, stack: str, is_gated: bool) -> Layer:
    def attention(part: str, has_bias: bool) -> Attention:
        bias = f"{name}.{part}.relative_attention_bias" if has_bias else None
        query, key, value, output = (f"{name}.{part}.{projection}" for projection in "qkvo")
        return Attention(query, key, value, output, bias)

    is_decoder = stack == "decoder"
    dense = f"{name}.layer.{2 if is_decoder else 1}.DenseReluDense"
    return Layer(
        name=name,
        self_attention=attention("layer.0.SelfAttention", has_bias=index == 0),
        cross_attention=attention("layer.1.EncDecAttention", has_bias=False) if is_decoder else None,
        feed_forward=FeedForward(
            up=(f"{dense}.wi_0", f"{dense}.wi_1") if is_gated else (f"{dense}.wi",), down=f"{dense}.wo"
        ),
    )


def bart_stack(name: str, count: int) -> Stack:
    """Returns a BART's `encoder` or `decoder` with a number of layers."""
    layers_name = f"model.{name}.layers"
    return Stack(name, layers_name, tuple(_bart_layer(f"{layers_name}.{i}", name) for i in range(count)))


def _bart_layer(name: str, stack: str) -> Layer:
    def attention(part: str) -> Attention:
        names = (f"{name}.{part}.{projection}" for projection in ("q_proj", "k_proj", "v_proj", "out_proj"))
        return Attention(*names)

    return Layer(
        name=name,
        self_attention=attention("self_attn"),
        cross_attention=attention("encoder_attn") if stack == "decoder" else None,
        feed_forward=FeedForward(up=(f"{name}.fc1",), down=f"{name}.fc2"),
    )
