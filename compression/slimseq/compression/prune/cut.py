"""The cut of layers, heads and feed-forward channels that the options of `prune` ask for.

There are two ways. `structure` cuts a model whose layers have one shape to another such shape. A plan (`layer_plan`)
cuts each layer to sizes of its own: a recipe's `plan`, or what the options ask of a model whose layers differ already.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.choose_parts import choose_parts
from slimseq.compression.prune.cut_to_plan import cut_to_plan
from slimseq.compression.prune.layer_plan import LayerPlan, check_plan, whole_plan
from slimseq.compression.prune.layers import check_layers, most_important_layers
from slimseq.compression.prune.model_shapes import is_varied
from slimseq.compression.prune.prune_options import PruneOptions
from slimseq.compression.prune.structure import (
    PROBE_PAIRS,
    channels_to_keep,
    check_feed_forward,
    cut_structure,
    shape_of,
    wanted_shape,
)
from slimseq.compression.train.data.training_data import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Cut:
    """A cut model, before any training."""

    model: "PreTrainedModel"
    """The given one if nothing was to be cut."""
    left: list[str]
    """What is left of each size that was cut, in words."""
    parameters: dict[str, Any]
    """What the lineage says of the cut, beside the options."""
    kept_layers: Mapping[str, list[int]] = field(default_factory=dict)
    """The layers that stay, by stack. Empty if all stay."""


def check_cut(model: "PreTrainedModel", options: PruneOptions) -> None:
    """Checks, before any data is read, that a model can be cut as options ask.

    Raises:
        BadParameters: it cannot.
    """
    if options.plan is not None:
        check_plan(model, LayerPlan.from_record(options.plan))
    elif is_varied(model):
        _check_options(model, options)
    else:
        wanted_shape(model, options)


def cut_model(
    model: "PreTrainedModel",
    options: PruneOptions,
    calibration: TrainingSet,
    dev: TrainingSet | None,
    context: Context,
    cache: Path | None = None,
) -> Cut:
    """Cuts layers, heads and feed-forward channels. The given model stays as it is.

    The loss without each layer is measured on dev data, or on calibration data if there is no dev data. `cache` is a
    folder of this model alone, as `choose_parts` has it.

    Raises:
        BadParameters: the options do not fit the model.
    """
    if options.plan is not None:
        plan = LayerPlan.from_record(options.plan)
    elif is_varied(model):
        plan = _plan_of_options(model, options, dev or calibration, context)
    else:
        whole_shape = shape_of(model)
        student, shape, kept = cut_structure(model, options, calibration, dev, context)
        parameters = {"kept_channels": shape.feed_forward, "shape": asdict(shape)}
        return Cut(student, list(shape.words(whole_shape)), parameters, kept)
    whole = whole_plan(model)
    check_plan(model, plan)
    if plan == whole:
        return Cut(model, [], {})
    student = cut_to_plan(model, plan, *choose_parts(model, plan, calibration, context, cache))
    kept = plan.kept if plan.kept != whole.kept else {}
    return Cut(student, plan.words(whole), {"plan": plan.record()}, kept)


def _check_options(model: "PreTrainedModel", options: PruneOptions) -> None:
    """Checks the options for a model whose layers differ."""
    whole = whole_plan(model)
    if options.heads is not None:
        raise BadParameters(
            "--heads does not work for a model whose configuration names the sizes of each layer; a recipe's `plan` "
            "says how many heads stay in each"
        )
    fewest_channels = min(layer.feed_forward for layers in whole.stacks.values() for layer in layers)
    check_feed_forward(options.feed_forward, fewest_channels)
    for stack, keep in _wanted_layers(whole, options).items():
        check_layers(stack, len(whole.stacks[stack]), keep)


def _plan_of_options(
    model: "PreTrainedModel", options: PruneOptions, probe: TrainingSet, context: Context
) -> LayerPlan:
    """Returns the plan for a model whose layers differ. A share of channels is one of each layer's own channels."""
    _check_options(model, options)
    whole = whole_plan(model)
    wanted = _wanted_layers(whole, options)
    kept = whole.kept
    if wanted != {stack: len(layers) for stack, layers in kept.items()}:
        kept = most_important_layers(model, probe.first(PROBE_PAIRS), context, wanted)
    planned = {}
    for stack, layers in whole.stacks.items():
        planned[stack] = tuple(
            replace(layers[index], feed_forward=channels_to_keep(layers[index].feed_forward, options.feed_forward))
            for index in kept[stack]
        )
    return LayerPlan(**planned)


def _wanted_layers(whole: LayerPlan, options: PruneOptions) -> dict[str, int]:
    """Returns how many layers of each stack stay."""
    wanted = {stack: len(layers) for stack, layers in whole.stacks.items()}
    if options.encoder_layers is not None:
        wanted["encoder"] = options.encoder_layers
    if options.decoder_layers is not None:
        wanted["decoder"] = options.decoder_layers
    return wanted
