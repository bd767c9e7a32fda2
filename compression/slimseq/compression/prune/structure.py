"""Decides the shape that a model is cut to, from options or by a search, and cuts it."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from slimseq.compression.anatomy import family_of_model
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.budget import OTHER_SHARES, Tried, choose_shape, share_of
from slimseq.compression.prune.feed_forward import feed_forward_widths
from slimseq.compression.prune.importance import measure_importance
from slimseq.compression.prune.layers import EvenOrder, LayerOrder, check_layers, measured_order
from slimseq.compression.prune.loss import one_shot_loss
from slimseq.compression.prune.options import PruneOptions
from slimseq.compression.prune.shape import Shape, cut_to, parameter_counter, shape_of
from slimseq.compression.prune.summary import importance_summary
from slimseq.compression.training.data import TrainingSet
from slimseq.models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Losses are compared, not reported: few pairs tell, and a search measures dozens of times.
PROBE_PAIRS = 64


class Structure(NamedTuple):
    """A cut model, its shape, and what a manifest says of how that was decided."""

    model: "PreTrainedModel"
    shape: Shape
    record: dict[str, Any]


def cut_structure(
    model: "PreTrainedModel",
    options: PruneOptions,
    calibration: TrainingSet,
    dev: TrainingSet | None,
    context: Context,
    vocabulary: int | None = None,
) -> Structure:
    """Cuts layers, heads and feed-forward channels as options say.

    Args:
        model: a T5 or BART on `context.device`; left as it is.
        options: what to keep.
        calibration: what importance is measured on.
        dev: what losses are measured on; None takes the calibration's.
        context: seed, device and progress.
        vocabulary: how many ids the model will be left with, which counts for a budget; None is all.

    Returns:
        The cut model, or the given one itself where nothing is to be cut.

    Raises:
        BadParameters: the options don't fit the model.
    """
    whole = shape_of(model)
    wanted = wanted_shape(model, options) if options.budget is None else None
    if wanted == whole:
        return Structure(model, whole, {})
    probe = (dev or calibration).first(PROBE_PAIRS)
    fixed = _fixed(model, options)
    least = wanted.layers if wanted is not None else _fewest_layers(whole, fixed)
    order: LayerOrder = EvenOrder(whole.layers)
    if options.layer_choice == "loss" and least != whole.layers:
        order = measured_order(model, probe, context, least)
    importance = measure_importance(model, calibration, context, options.criterion)
    record: dict[str, Any] = {}
    if wanted is None:
        assert options.budget is not None
        with context.progress() as display:
            task = display.add_task("Trying shapes", total=None, status="")

            def loss(shape: Shape) -> float:
                display.advance(task)
                return one_shot_loss(cut_to(model, shape, importance, order), probe, context)

            is_t5 = family_of_model(model) is Family.T5
            count = parameter_counter(model, vocabulary)
            before = model.num_parameters()
            wanted, tried = choose_shape(whole, fixed, options.budget, before, count, loss, is_t5)
        _say_tried(context, tried, wanted)
        record["tried"] = [row.row() for row in tried]
    if wanted.layers != whole.layers:
        record["kept_layers"] = {stack: order.kept(stack, keep) for stack, keep in wanted.layers.items()}
    record["importance"] = importance_summary(model, wanted, importance, order)
    return Structure(cut_to(model, wanted, importance, order), wanted, record)


def wanted_shape(model: "PreTrainedModel", options: PruneOptions) -> Shape:
    """Returns the shape that options name, without a search.

    Raises:
        BadParameters: they don't fit the model.
    """
    whole = shape_of(model)
    channels = kept_channels(model, options.feed_forward)
    shape = replace(
        whole,
        encoder_feed_forward=channels["encoder"],
        decoder_feed_forward=channels["decoder"],
        **_named(options),
    )
    for stack, count in whole.layers.items():
        check_layers(stack, count, shape.layers[stack])
    if not 1 <= shape.heads <= whole.heads:
        raise BadParameters(f"cannot keep {shape.heads} of {whole.heads} attention heads")
    return shape


def kept_channels(model: "PreTrainedModel", feed_forward: float) -> dict[str, int]:
    """Returns how many feed-forward channels each stack keeps: a share where at most 1, else that number.

    Raises:
        BadParameters: it is not above 0, or neither a share nor a whole number.
    """
    if feed_forward <= 0 or (feed_forward > 1 and feed_forward != int(feed_forward)):
        raise BadParameters(
            f"--feed-forward {feed_forward:g} is neither a share above 0 and up to 1 nor a number of channels"
        )
    widths = feed_forward_widths(model)
    if feed_forward > min(widths.values()):
        raise BadParameters(f"--feed-forward {feed_forward:g} is above the {min(widths.values())} channels there are")
    return {
        stack: share_of(width, feed_forward) if feed_forward <= 1 else int(feed_forward)
        for stack, width in widths.items()
    }


def _named(options: PruneOptions) -> dict[str, int]:
    named = {name: getattr(options, name) for name in ("encoder_layers", "decoder_layers", "heads")}
    return {name: value for name, value in named.items() if value is not None}


def _fixed(model: "PreTrainedModel", options: PruneOptions) -> dict[str, int]:
    """Returns what a search leaves alone: what is named, and heads where a BART's stacks differ in them."""
    fixed = _named(options)
    if getattr(model.config, "encoder_attention_heads", 0) != getattr(model.config, "decoder_attention_heads", 0):
        fixed.setdefault("heads", shape_of(model).heads)
    return fixed


def _fewest_layers(whole: Shape, fixed: Mapping[str, int]) -> dict[str, int]:
    return {
        stack: fixed.get(f"{stack}_layers", share_of(count, min(OTHER_SHARES))) for stack, count in whole.layers.items()
    }


def _say_tried(context: Context, tried: list[Tried], chosen: Shape) -> None:
    for row in tried:
        mark = "*" if row.shape == chosen else " "
        shape = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in asdict(row.shape).items())
        context.say(f"{mark} {row.parameters:>12,} parameters, loss {row.loss:.3f}: {shape}")
