"""Decides the shape that a model is cut to, from options or by a search, cuts it, and records how that was decided."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model, family_of_model
from slimseq.compression.prune.budget import OTHER_SHARES, choose_shape, share_of
from slimseq.compression.prune.feed_forward import feed_forward_widths
from slimseq.compression.prune.importance import Importance, measure_importance, one_shot_loss
from slimseq.compression.prune.layers import LayerOrder, check_layers, measured_order
from slimseq.compression.prune.options import PruneOptions
from slimseq.compression.prune.shape import Shape, cut_to, parameter_counter, shape_of
from slimseq.compression.train.data.pairs import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Losses are compared, not reported: few pairs tell, and a search measures dozens of times.
PROBE_PAIRS = 64
# Of scores in a manifest.
DIGITS = 4


def cut_structure(
    model: "PreTrainedModel",
    options: PruneOptions,
    calibration: TrainingSet,
    dev: TrainingSet | None,
    context: Context,
    vocabulary: int | None = None,
) -> "tuple[PreTrainedModel, Shape, dict[str, Any]]":
    """Cuts layers, heads and feed-forward channels as options say.

    Args:
        model: of any family, on `context.device`; left as it is.
        options: what to keep.
        calibration: what importance is measured on.
        dev: what losses are measured on; None takes the calibration's.
        context: seed, device and progress.
        vocabulary: how many ids the model will be left with, which counts for a budget; None is all.

    Returns:
        The cut model, or the given one itself where nothing is to be cut; its shape; and what the manifest says of how
        that was decided.

    Raises:
        BadParameters: the options don't fit the model.
    """
    whole = shape_of(model)
    wanted = wanted_shape(model, options) if options.budget is None else None
    if wanted == whole:
        return model, whole, {}
    probe = (dev or calibration).first(PROBE_PAIRS)
    fixed = _fixed(model, options)
    fewest = {stack: share_of(count, min(OTHER_SHARES)) for stack, count in whole.layers.items()}
    least = wanted.layers if wanted is not None else {s: fixed.get(f"{s}_layers", n) for s, n in fewest.items()}
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

            is_shared = family_of_model(model).has_one_feed_forward_width
            count = parameter_counter(model, vocabulary)
            before = model.num_parameters()
            wanted, tried = choose_shape(whole, fixed, options.budget, before, count, loss, is_shared)
        record["tried"] = [
            {**asdict(shape), "parameters": count(shape), "loss": round(measured, DIGITS)}
            for shape, measured in tried.items()
        ]
    if wanted.layers != whole.layers:
        record["kept_layers"] = {stack: order.kept(stack, keep) for stack, keep in wanted.layers.items()}
    record["importance"] = importance_summary(model, wanted, importance, order)
    return cut_to(model, wanted, importance, order, calibration), wanted, record


def wanted_shape(model: "PreTrainedModel", options: PruneOptions) -> Shape:
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
    """Returns how many feed-forward channels each stack keeps: a share where at most 1, else that number."""
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


def importance_summary(
    model: "PreTrainedModel", shape: Shape, importance: Importance, order: LayerOrder
) -> dict[str, list[dict[str, Any]]]:
    """Returns records of the importance of layers and parts of a model that is cut to a shape.

    `channels` and `heads` have the mean score of a part in each layer and what share of the layer's sum the best parts
    hold that stay (0 where the layer goes). `layers` says whether each stays and, where that was measured, by how many
    nats the loss rises when it is skipped. Layers are named such as `decoder.3`, attentions `decoder.3.cross`.
    """
    channels: list[dict[str, Any]] = []
    heads: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    for stack in architecture_of_model(model).stacks:
        kept = order.kept(stack.name, shape.layers[stack.name])
        rises = order.rises.get(stack.name, [])
        for index, layer in enumerate(stack.layers):
            name, stays = f"{stack.name}.{index}", index in kept
            keep = shape.feed_forward[stack.name] if stays else 0
            channels.append({"layer": name, **_mean_and_share(importance.channels[layer.feed_forward.down], keep)})
            for attention in layer.attentions:
                kind = "cross" if attention is layer.cross_attention else "self"
                scores = importance.heads[attention.output]
                heads.append({"layer": f"{name}.{kind}", **_mean_and_share(scores, shape.heads if stays else 0)})
            rise = {"loss_rise": round(rises[index], DIGITS)} if rises else {}
            layers.append({"layer": name, "stays": stays, **rise})
    return {"channels": channels, "heads": heads, "layers": layers}


def _named(options: PruneOptions) -> dict[str, int]:
    named = {name: getattr(options, name) for name in ("encoder_layers", "decoder_layers", "heads")}
    return {name: value for name, value in named.items() if value is not None}


def _fixed(model: "PreTrainedModel", options: PruneOptions) -> dict[str, int]:
    """Returns what a search leaves alone: what is named, and heads where the stacks differ in them."""
    fixed = _named(options)
    encoder, decoder = architecture_of_model(model).stacks
    if encoder.heads.count != decoder.heads.count:
        fixed.setdefault("heads", encoder.heads.count)
    return fixed


def _mean_and_share(scores: torch.Tensor, keep: int) -> dict[str, float]:
    total = float(scores.sum())
    share = float(scores.topk(keep).values.sum()) / total if total else keep / len(scores)
    return {"mean": float(f"{float(scores.mean()):.{DIGITS}g}"), "kept_share": round(share, DIGITS)}
