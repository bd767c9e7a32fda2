"""What a model is made of: names of its tensors and its switches, in the same words for every family.

A family (`slimseq.inference.models.family`) fills this in from a configuration and from the tensors that there are.
What builds graphs, fills another library's specification, or measures and removes parts reads it, and never asks for
the family. Names are those of the state dict, without the ending `.weight` or `.bias`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from slimseq.inference.models.safetensors_reader import Floats


@dataclass(frozen=True)
class Heads:
    """An attention's heads: how many, the width of each, and the factor of their scores."""

    count: int
    width: int
    scale: float = 1.0


@dataclass(frozen=True)
class Buckets:
    """How distances are binned: `count` buckets, the last of which takes all from `greatest` on."""

    count: int
    greatest: int


@dataclass(frozen=True)
class Attention:
    """Names of one attention's projections and norm, and of its relative position bias where it has one."""

    query: str
    key: str
    value: str
    output: str
    norm: str
    position_bias: str | None = None


@dataclass(frozen=True)
class Cell:
    """Names of a recurrent unit's two projections and of its norm, which a decoder may have for self-attention.

    With `f = sigmoid(forget(x))` its state becomes `f * state + (1 - f) * input(x)`, and its output is `relu(state)`
    (SSRU, Kim et al. 2019, https://aclanthology.org/D19-5632). The state has the width of the residual stream.
    """

    forget: str
    input: str
    norm: str


@dataclass(frozen=True)
class FeedForward:
    """Names of the projections up (two where gated), of the one down, of the activation and of the norm."""

    up: tuple[str, ...]
    down: str
    activation: str
    norm: str


@dataclass(frozen=True)
class Layer:
    """One layer. `cross_attention` is None in an encoder. `name` is the module that holds all of it."""

    name: str
    self_attention: Attention | Cell
    cross_attention: Attention | None
    feed_forward: FeedForward

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """Self-attention, then cross-attention, as far as there are such."""
        return tuple(each for each in (self.self_attention, self.cross_attention) if isinstance(each, Attention))

    @property
    def parts(self) -> tuple[Attention | Cell | FeedForward, ...]:
        """Attentions or a cell, then the feed-forward: what a norm stands before or behind."""
        cell = (self.self_attention,) if isinstance(self.self_attention, Cell) else ()
        return *cell, *self.attentions, self.feed_forward


@dataclass(frozen=True)
class Stack:
    """The encoder or the decoder: its module, and the module list `layers_name` that its layers come from, in order.

    Tokens are looked up in the tensor `tokens`. `positions` is the module of absolute positions; None where there are
    none, or where they are computed. `embedding_norm` is the norm of the sum of both, and `final_norm` that behind the
    last layer; None where there is none.
    """

    name: str
    module: str
    layers_name: str
    layers: tuple[Layer, ...]
    heads: Heads
    tokens: str
    positions: str | None
    embedding_norm: str | None
    final_norm: str | None

    @property
    def is_recurrent(self) -> bool:
        """Whether layers have cells in place of self-attention."""
        return isinstance(self.layers[0].self_attention, Cell)

    @property
    def position_biases(self) -> tuple[str, ...]:
        """The relative position biases: of all layers, or of the first layer alone, which serves all of them."""
        own = (layer.self_attention for layer in self.layers)
        return tuple(each.position_bias for each in own if isinstance(each, Attention) and each.position_bias)

    @property
    def norms(self) -> tuple[str, ...]:
        others = (each for each in (self.embedding_norm, self.final_norm) if each is not None)
        return *(part.norm for layer in self.layers for part in layer.parts), *others


@dataclass(frozen=True)
class Architecture:
    """One model, as its family fills it in. Its width is that of the residual stream.

    With `has_own_head_width`, the configuration says how wide a head is, so that heads are removed without residual
    channels. `sinusoidal_positions` computes positions that no file holds, `(positions, width)`, from both numbers.

    The activation is that of feed-forwards, by the name that transformers has for it. The norm `rms` divides by the
    root mean square and has no bias; `layer` is layer normalization. With `is_pre_norm` one stands before each part and
    one behind each stack; else one behind each part. Absolute positions are `max_positions` rows behind
    `position_offset` unused ones; without them there are 0 rows, and buckets. Embeddings that were looked up have a
    scale, and so have the decoder's last states before the output matrix, which is `output_table`, and the embedding
    where it is tied. `output_bias` is the tensor of one bias a token; None where there is none, or where all of them
    are zero. With `starts_from_zero`, the decoder's first embedding is zero in place of a token's.
    """

    width: int
    encoder: Stack
    decoder: Stack
    activation: str
    norm: Literal["rms", "layer"]
    norm_epsilon: float
    is_pre_norm: bool
    max_positions: int
    position_offset: int
    buckets: Buckets | None
    embedding_scale: float
    output_scale: float
    is_tied: bool
    output_table: str
    output_bias: str | None
    has_own_head_width: bool
    sinusoidal_positions: Callable[[int, int], Floats]
    starts_from_zero: bool = False

    @property
    def stacks(self) -> tuple[Stack, Stack]:
        return self.encoder, self.decoder

    @property
    def layers(self) -> tuple[Layer, ...]:
        return *self.encoder.layers, *self.decoder.layers

    @property
    def is_gated(self) -> bool:
        """Whether a gate multiplies the inner states of feed-forwards."""
        return len(self.encoder.layers[0].feed_forward.up) > 1
