"""The shape of a model, and the cut to a smaller shape: layers first, then heads (or the width), then feed-forward.

`layers`, `heads` and `feed_forward` each make one cut, and `importance` says what is cut. `prune` trains afterwards.
"""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.feed_forward import feed_forward_widths, prune_feed_forward
from slimseq.compression.prune.heads import prune_heads
from slimseq.compression.prune.importance import Importance, measure_importance
from slimseq.compression.prune.layers import check_layers, keep_layers, most_important_layers
from slimseq.compression.prune.prune_options import PruneOptions
from slimseq.compression.train.data.training_data import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Pairs on which the loss without a layer is measured. These losses are only compared with each other, so few pairs
# suffice, and many layers are tried.
PROBE_PAIRS = 64
# The fields of `Shape` in words.
NAMES = {
    "encoder_layers": "encoder layers",
    "decoder_layers": "decoder layers",
    "heads": "attention heads",
    "encoder_feed_forward": "feed-forward channels in the encoder",
    "decoder_feed_forward": "feed-forward channels in the decoder",
}


@dataclass(frozen=True)
class Shape:
    """The sizes that can be cut. Each is the same in all layers of a stack, so that transformers' configuration has it.

    All attentions have the same number of `heads`. In families whose configuration has no width of a head, the width of
    the model falls with the heads. A family with one feed-forward width for both stacks, such as T5, has the same
    number twice.
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
        """Returns what is left of each size that `whole` has more of, such as "2 of 6 decoder layers"."""
        own_sizes, whole_sizes = asdict(self), asdict(whole)
        return [
            f"{own_sizes[name]} of {whole_sizes[name]} {noun}"
            for name, noun in NAMES.items()
            if own_sizes[name] != whole_sizes[name]
        ]


def shape_of(model: "PreTrainedModel") -> Shape:
    """Returns the shape of a model whose layers have one shape a stack (`model_shapes.is_varied` is false)."""
    architecture = architecture_of_model(model)
    widths = feed_forward_widths(model)
    encoder, decoder = (len(stack.layers) for stack in architecture.stacks)
    return Shape(encoder, decoder, architecture.encoder.attentions[0].heads.count, widths["encoder"], widths["decoder"])


def wanted_shape(model: "PreTrainedModel", options: PruneOptions) -> Shape:
    """Returns the shape that options ask for, or raises BadParameters if the model cannot have it."""
    whole, channels = shape_of(model), kept_channels(model, options.feed_forward)
    named = {name: getattr(options, name) for name in ("encoder_layers", "decoder_layers", "heads")}
    shape = replace(
        whole,
        encoder_feed_forward=channels["encoder"],
        decoder_feed_forward=channels["decoder"],
        **{name: value for name, value in named.items() if value is not None},
    )
    for stack, count in whole.layers.items():
        check_layers(stack, count, shape.layers[stack])
    if not 1 <= shape.heads <= whole.heads:
        raise BadParameters(f"cannot keep {shape.heads} of {whole.heads} attention heads")
    return shape


def kept_channels(model: "PreTrainedModel", feed_forward: float) -> dict[str, int]:
    """Returns how many feed-forward channels each stack keeps. `feed_forward` up to 1 is a share, above 1 a number."""
    widths = feed_forward_widths(model)
    check_feed_forward(feed_forward, min(widths.values()))
    return {stack: channels_to_keep(width, feed_forward) for stack, width in widths.items()}


def check_feed_forward(feed_forward: float, fewest: int) -> None:
    """Checks a share or number of channels to keep, of layers that have `fewest` channels or more.

    Raises:
        BadParameters: it is none, or a layer has fewer channels.
    """
    if feed_forward <= 0 or (feed_forward > 1 and feed_forward != int(feed_forward)):
        raise BadParameters(
            f"--feed-forward {feed_forward:g} is neither a share above 0 and up to 1 nor a number of channels"
        )
    if feed_forward > fewest:
        raise BadParameters(f"--feed-forward {feed_forward:g} is above the {fewest} channels there are")


def channels_to_keep(channels: int, feed_forward: float) -> int:
    """Returns how many channels of a layer stay, at least one. `feed_forward` up to 1 is a share, above 1 a number."""
    return max(1, round(channels * feed_forward)) if feed_forward <= 1 else int(feed_forward)


def cut_structure(
    model: "PreTrainedModel", options: PruneOptions, calibration: TrainingSet, dev: TrainingSet | None, context: Context
) -> "tuple[PreTrainedModel, Shape, dict[str, list[int]]]":
    """Cuts layers, heads and feed-forward channels to the sizes in the options.

    The loss without each layer is measured on dev data, or on calibration data if there is no dev data.

    Returns:
        The cut model (the given one if nothing is to be cut), its shape, and the layers that stay by stack (empty if
        all stay).

    Raises:
        BadParameters: the options do not fit the model.
    """
    whole, wanted = shape_of(model), wanted_shape(model, options)
    if wanted == whole:
        return model, whole, {}
    kept: dict[str, list[int]] = {}
    if wanted.layers != whole.layers:
        kept = most_important_layers(model, (dev or calibration).first(PROBE_PAIRS), context, wanted.layers)
    importance = measure_importance(model, calibration, context, options.criterion)
    return cut_to(model, wanted, importance, kept, calibration), wanted, kept


def cut_to(
    model: "PreTrainedModel",
    shape: Shape,
    importance: Importance,
    kept: dict[str, list[int]],
    calibration: TrainingSet | None = None,
) -> "PreTrainedModel":
    """Returns a model of a smaller shape, before any training.

    Args:
        model: the model to cut, which stays as it is.
        shape: the shape to cut to. Sizes that the model has already are not cut.
        importance: scores of heads, channels and residual channels.
        kept: the layers that stay by stack, empty if all stay.
        calibration: pairs on which the remaining feed-forward weights are fitted to the outputs before the cut.
    """
    whole = shape_of(model)
    # After the first cut, later cuts may take over the tensors of the intermediate model.
    smaller = model
    if kept:
        importance = importance.of_layers(architecture_of_model(model), kept)
        smaller = keep_layers(smaller, kept)
    if shape.heads != whole.heads:
        smaller = prune_heads(smaller, shape.heads, importance, takes_over=smaller is not model)
    if shape.feed_forward != whole.feed_forward:
        takes_over = smaller is not model
        smaller = prune_feed_forward(smaller, shape.feed_forward, importance, takes_over, calibration)
    return smaller
