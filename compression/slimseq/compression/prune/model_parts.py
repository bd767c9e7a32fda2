"""The parts of a model of which heads or channels can be removed: attentions and feed-forwards, in order of depth.

A part is known by the projection that leaves it: the output projection of an attention, the down projection of a
feed-forward. To remove a head or channel is to remove what this projection reads of it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slimseq.compression.models import architecture_of_model, feed_forward_channels
from slimseq.inference.models.architecture import Architecture, Layer, Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PartKind = Literal["heads", "cross_heads", "feed_forward"]


@dataclass(frozen=True)
class ModelPart:
    """One attention or feed-forward of a model."""

    stack: str
    """`encoder` or `decoder`."""
    layer: int
    """Index of the layer in its stack, from 0."""
    kind: PartKind
    projection: str
    """Name of the module that leaves the part."""
    count: int
    """Heads or channels of the part."""
    width: int
    """Inputs of the projection that belong to one head, or 1 for a channel."""


def parts_of(model: "PreTrainedModel") -> list[ModelPart]:
    """Returns the parts of a model: the encoder's first, then the decoder's, each in order of depth."""
    return [
        part
        for stack in architecture_of_model(model).stacks
        for index, layer in enumerate(stack.layers)
        for part in _parts_of_layer(model, stack, index, layer)
    ]


def _parts_of_layer(model: "PreTrainedModel", stack: Stack, index: int, layer: Layer) -> list[ModelPart]:
    parts: list[ModelPart] = []
    for attention in layer.attentions:
        kind: PartKind = "heads" if attention is layer.self_attention else "cross_heads"
        heads = attention.heads
        parts.append(ModelPart(stack.name, index, kind, attention.output, heads.count, heads.width))
    channels = feed_forward_channels(model, layer)
    parts.append(ModelPart(stack.name, index, "feed_forward", layer.feed_forward.down, channels, 1))
    return parts


def stacks_of_shared_heads(architecture: Architecture) -> tuple[str, ...]:
    """Returns the stacks whose self-attentions share one relative position bias, and therefore keep the same heads."""
    return tuple(stack.name for stack in architecture.stacks if stack.shares_position_bias)
