"""What a model is made of: names of its tensors and its switches, in the same words for every family.

A family (`slimseq.inference.models.family`) makes an `Architecture` from a configuration and a model's tensors. The
code that builds graphs, converts to CTranslate2, or prunes reads the `Architecture` and never asks for the family.
Names are taken from the state dict, without the ending `.weight` or `.bias`.
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
    """How T5 bins distances between positions: `count` buckets, the last of which takes all from `greatest` on."""

    count: int
    greatest: int


@dataclass(frozen=True)
class Attention:
    """Names of one attention's projections and norm, and of its relative position bias where it has one; its heads.

    Attentions of one model may have different numbers of heads (`slimseq.inference.models.layer_shapes`).
    """

    query: str
    key: str
    value: str
    output: str
    norm: str
    heads: Heads
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
        """The parts of a layer, each of which has a norm: attentions or a cell, then the feed-forward."""
        cell = (self.self_attention,) if isinstance(self.self_attention, Cell) else ()
        return *cell, *self.attentions, self.feed_forward


@dataclass(frozen=True)
class Stack:
    """The encoder or the decoder.

    Attributes:
        name: `encoder` or `decoder`.
        module: the module that holds all of it.
        layers_name: the module list of its layers.
        layers: the layers, in order.
        tokens: the tensor in which tokens are looked up.
        positions: the module of absolute positions; None where there are none, or where they are computed.
        embedding_norm: the norm of the sum of token and position embeddings; None where there is none.
        final_norm: the norm behind the last layer; None where there is none.
    """

    name: str
    module: str
    layers_name: str
    layers: tuple[Layer, ...]
    tokens: str
    positions: str | None
    embedding_norm: str | None
    final_norm: str | None

    @property
    def is_recurrent(self) -> bool:
        """Whether layers have cells in place of self-attention."""
        return isinstance(self.layers[0].self_attention, Cell)

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The attentions of all layers, in order."""
        return tuple(attention for layer in self.layers for attention in layer.attentions)

    @property
    def self_attentions(self) -> tuple[Attention, ...]:
        """The self-attention of each layer; none where layers are recurrent."""
        found = (layer.self_attention for layer in self.layers)
        return tuple(each for each in found if isinstance(each, Attention))

    @property
    def shares_position_bias(self) -> bool:
        """Whether one relative position bias serves all layers, so that their self-attentions have the same heads."""
        return len(self.layers) > 1 and len(self.position_biases) == 1

    @property
    def position_biases(self) -> tuple[str, ...]:
        """The relative position biases: of all layers, or of the first layer alone, which serves all of them."""
        return tuple(each.position_bias for each in self.self_attentions if each.position_bias)

    @property
    def norms(self) -> tuple[str, ...]:
        others = (each for each in (self.embedding_norm, self.final_norm) if each is not None)
        return *(part.norm for layer in self.layers for part in layer.parts), *others


@dataclass(frozen=True)
class Architecture:
    """One model, as its family fills it in.

    Attributes:
        width: of the residual stream.
        encoder: the encoder's names.
        decoder: the decoder's names.
        activation: of feed-forwards, by the name that transformers has for it.
        norm: `rms` divides by the root mean square and has no bias; `layer` is layer normalization.
        norm_epsilon: what a norm adds to the variance or the mean square.
        is_pre_norm: whether a norm stands before each part, and one behind each stack; else one behind each part.
        max_positions: rows of absolute positions; 0 where positions are relative.
        position_offset: unused rows before the first position's.
        buckets: of relative positions; None where positions are absolute.
        embedding_scale: the factor of token embeddings.
        output_scale: the factor of the decoder's last states before the output matrix.
        is_tied: whether the output matrix is the token embedding.
        output_table: the tensor of the output matrix; the embedding's where it is tied.
        output_bias: the tensor of one bias a token; None where there is none, or where all of them are zero.
        has_own_head_width: whether the configuration says how wide a head is, so that heads can be removed without
            residual channels.
        sinusoidal_positions: computes positions that no file holds, `(positions, width)`, from these two numbers.
        starts_from_zero: whether the decoder's first embedding is zero, in place of a start token's.
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
