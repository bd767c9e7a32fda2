"""The shape of a model, and cutting one to a smaller: layers, then heads (or the width), then feed-forward."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.feed_forward import feed_forward_widths, prune_feed_forward
from slimseq.compression.prune.heads import prune_heads
from slimseq.compression.prune.importance import Importance
from slimseq.compression.prune.layers import LayerOrder, keep_layers
from slimseq.compression.prune.rebuild import empty
from slimseq.compression.train.data.pairs import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAMES = {
    "encoder_layers": "encoder layers",
    "decoder_layers": "decoder layers",
    "heads": "attention heads",
    "encoder_feed_forward": "feed-forward channels in the encoder",
    "decoder_feed_forward": "feed-forward channels in the decoder",
}


@dataclass(frozen=True)
class Shape:
    """What can be cut, all of it uniform within a stack so that stock configuration keys say it.

    `heads` is that of every attention; the width goes with it where heads have no width of their own. A family with one
    feed-forward width for both stacks, such as T5, has the same number twice.
    """

    encoder_layers: int
    decoder_layers: int
    heads: int
    encoder_feed_forward: int
    decoder_feed_forward: int

    @property
    def layers(self) -> dict[str, int]:
        return {"encoder": self.encoder_layers, "decoder": self.decoder_layers}

    @property
    def feed_forward(self) -> dict[str, int]:
        return {"encoder": self.encoder_feed_forward, "decoder": self.decoder_feed_forward}

    def words(self, whole: "Shape") -> list[str]:
        """Returns, for people, what is left of everything that `whole` has more of."""
        return [
            f"{mine} of {theirs} {NAMES[name]}"
            for (name, mine), theirs in zip(asdict(self).items(), asdict(whole).values(), strict=True)
            if mine != theirs
        ]


def shape_of(model: "PreTrainedModel") -> Shape:
    architecture = architecture_of_model(model)
    widths = feed_forward_widths(model)
    encoder, decoder = (len(stack.layers) for stack in architecture.stacks)
    return Shape(encoder, decoder, architecture.encoder.heads.count, widths["encoder"], widths["decoder"])


def cut_to(
    model: "PreTrainedModel",
    shape: Shape,
    importance: Importance,
    order: LayerOrder,
    calibration: TrainingSet | None = None,
) -> "PreTrainedModel":
    """Returns a model of a smaller shape, before any training. What already fits is not cut.

    Args:
        model: of any family; stays as it is.
        shape: no part of it larger than the model's.
        importance: measured on this model; layers that stay keep their scores.
        order: in which layers go.
        calibration: pairs to fit feed-forward parts on; None keeps their weights.

    Returns:
        The smaller model, or `model` itself where nothing is to be cut.

    Raises:
        BadParameters: the shape does not fit the model.
    """
    whole = shape_of(model)
    smaller = model
    if shape.layers != whole.layers:
        kept = {stack: order.kept(stack, count) for stack, count in shape.layers.items()}
        importance = importance.of_layers(architecture_of_model(model), kept)
        smaller = keep_layers(smaller, kept)
    if shape.heads != whole.heads:
        smaller = prune_heads(smaller, shape.heads, importance, takes_over=smaller is not model)
    if shape.feed_forward != whole.feed_forward:
        takes_over = smaller is not model
        smaller = prune_feed_forward(smaller, shape.feed_forward, importance, takes_over, calibration)
    return smaller


def parameter_counter(model: "PreTrainedModel", vocabulary: int | None = None) -> Callable[[Shape], int]:
    """Returns a function that counts the parameters of a model of a shape without building it.

    Layers of a stack have the same size except for a relative position bias in layer 0. So models of one and two
    layers, without weights, are enough to compute any number of layers. `vocabulary` is its size; None is the model's.
    """
    architecture = architecture_of_model(model)
    family = architecture.family

    @cache
    def count(shape: Shape) -> int:
        width = shape.heads * architecture.encoder.heads.width
        tokens = vocabulary or model.config.vocab_size
        return empty(model, family.resized(**asdict(shape), width=width, tokens=tokens)).num_parameters()

    @cache
    def layer(stack: str, heads: int, feed_forward: int) -> int:
        one = Shape(1, 1, heads, feed_forward, feed_forward)
        return count(replace(one, **{f"{stack}_layers": 2})) - count(one)

    def total(shape: Shape) -> int:
        # The smallest feed-forward that all share here is taken out again by the layers' own counts.
        base = count(Shape(1, 1, shape.heads, 1, 1))
        layers = 0
        for stack, layers_there in shape.layers.items():
            layers += layers_there * layer(stack, shape.heads, shape.feed_forward[stack])
            layers -= layer(stack, shape.heads, 1)
        return base + layers

    return total
