"""Measures what each part of a model is worth: the divergence from its own outputs that a cut causes.

Second order (`prune.second_order`) says what to remove from a part, and the error of the part's output at each level.
Probes say what such errors are worth: the whole model runs with one part cut and fitted, and its outputs are compared
with those of the whole model. Levels that are not probed get a loss in proportion to their error.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from slimseq.compression.compress.structures.effort import (
    FEWEST_PAIRS,
    LAYERS_SHARE,
    LAYERS_TRIED,
    RANKING_SHARE,
    Effort,
    batch_tokens,
    first_batches,
    seconds_of_pair,
    small_batches,
)
from slimseq.compression.compress.structures.loss_table import LayerLoss, LossTable, PartLoss, levels_of
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.layers import skipping
from slimseq.compression.prune.model_parts import ModelPart, parts_of, stacks_of_shared_heads
from slimseq.compression.prune.ranked_parts import rank_parts
from slimseq.compression.prune.second_order import Fit, Projection, Removal, inputs_of, patch, with_tensors
from slimseq.compression.train.data.batches import IGNORED_LABEL, Batch, one_pass
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.compression.train.forward import encoded_by, logits_of, pad_id_of
from slimseq.compression.train.loss import distillation_loss

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def divergence(original: "PreTrainedModel", cut: "PreTrainedModel", pairs: TrainingSet, context: Context) -> float:
    """Returns the mean KL(original || cut) over all target tokens of some pairs, in nats.

    Both models run with teacher forcing on the targets. Afterwards they are on `context.device` and in evaluation mode.

    Raises:
        BadParameters: the models have vocabularies of different sizes.
    """
    if original.config.vocab_size != cut.config.vocab_size:
        raise BadParameters(
            f"the original has {original.config.vocab_size} tokens and the other model {cut.config.vocab_size}: their "
            "outputs cannot be compared"
        )
    for model in (original, cut):
        model.to(context.device)  # type: ignore[arg-type]
        model.train(False)
    total, tokens = 0.0, 0
    with torch.inference_mode(), context.progress() as display:
        task = display.add_task("Comparing outputs", total=len(pairs), status="")
        for batch in one_pass(pairs, batch_tokens(original), pad_id_of(original)):
            on_device = batch.to(context.device)
            total += _summed_divergence(logits_of(original, on_device), logits_of(cut, on_device), on_device)
            tokens += _targets(batch)
            display.advance(task, batch.rows)
    return total / tokens


def measure_losses(
    model: "PreTrainedModel",
    calibration: TrainingSet,
    probes: TrainingSet,
    context: Context,
    seconds: float | None = None,
    cache: Path | None = None,
) -> LossTable:
    """Measures the losses of all parts and layers of a model. The model stays as it is.

    Afterwards the model is on `context.device` and in evaluation mode.

    Args:
        model: the model.
        calibration: pairs for second moments and fits.
        probes: other pairs, on which divergences are measured.
        context: device, seed and progress display.
        seconds: aim for the time. Where it is short, fewer levels are probed, and on fewer pairs, and heads and
            channels are ranked without second order. None measures everything, and is deterministic on a CPU.
        cache: folder of this model alone, for second moments, as `choose_parts` has it. With it, the ranking is whole
            whatever time it takes, since later cuts need it.
    """
    started = time.monotonic()
    model.to(context.device)  # type: ignore[arg-type]
    model.train(False)
    batches = small_batches(model, probes, context.seed)
    effort = Effort.whole(model, len(probes))
    deadline = ranking_deadline = None
    if seconds is not None:
        effort = effort.within(seconds, seconds_of_pair(model, batches[0], context))
        # With a cache, the order is needed again for every cut, so that a quick one would save nothing.
        ranking_deadline = started + seconds * RANKING_SHARE if cache is None else None
        deadline = started + seconds * (1 - LAYERS_SHARE)
    cuts: list[_CutPart] = []

    def fit(part: ModelPart, projection: Projection, removal: Removal) -> None:
        cuts.append(_CutPart.fitted(part, projection, removal, effort.probed_levels))

    rank_parts(model, calibration, context, fit, cache, ranking_deadline)
    # In order of depth: attentions that share a position bias were ranked together.
    order = [part.projection for part in parts_of(model)]
    cuts.sort(key=lambda cut: order.index(cut.part.projection))
    variants = [_Variant(cut.part.stack, cut.changes(model, kept)) for cut in cuts for kept in cut.fits]
    with context.progress() as display:
        task = display.add_task("Probing heads and channels", total=len(batches) * len(variants), status="")
        found, tokens = _probe(model, batches, variants, context, lambda: display.advance(task), deadline)
    losses = iter(found)
    parts = [cut.part_loss({kept: next(losses) for kept in cut.fits}) for cut in cuts]
    removals = _removals_of_layers(model, first_batches(batches, effort.layer_pairs), context)
    return LossTable(tuple(parts), removals, stacks_of_shared_heads(architecture_of_model(model)), tokens)


@dataclass(frozen=True)
class _CutPart:
    """One part: what is removed at each level, and the fits of the levels that are probed."""

    part: ModelPart
    removal: Removal
    levels: list[int]
    """Heads or channels that each level keeps, from all of them down."""
    fits: dict[int, Fit]
    """By the number of heads or channels that stay."""

    @classmethod
    def fitted(cls, part: ModelPart, projection: Projection, removal: Removal, most: int) -> "_CutPart":
        levels = levels_of(part.kind, part.count)
        fits = {
            kept: projection.fit(inputs_of(removal.kept(kept), part.width)) for kept in _evenly_chosen(levels[1:], most)
        }
        return cls(part, removal, levels, fits)

    def changes(self, model: "PreTrainedModel", kept: int) -> Callable[[], AbstractContextManager[None]]:
        """Returns a function whose context gives a model this part with `kept` heads or channels, fitted."""
        return lambda: with_tensors(model, patch(model, self.part, self.removal.kept(kept), self.fits[kept]))

    def part_loss(self, probed: dict[int, float]) -> PartLoss:
        """Returns the losses of all levels, given those of the probed ones: in proportion to the errors between."""
        errors = [self.removal.error(kept) for kept in self.levels]
        points = sorted([(0.0, 0.0), *((self.removal.error(kept), loss) for kept, loss in probed.items())])
        losses: list[float] = []
        for error in errors:
            # No cut costs less than a smaller one: what chance says else is left out.
            losses.append(max([_interpolated(points, error), *losses[-1:]]))
        part = self.part
        return PartLoss(part.stack, part.layer, part.kind, tuple(self.levels), tuple(errors), tuple(losses))


def _evenly_chosen(levels: Sequence[int], most: int) -> list[int]:
    """Returns at most `most` levels: the middle one, or some from the first to the last, evenly spaced."""
    if len(levels) <= most:
        return list(levels)
    if most == 1:
        return [levels[len(levels) // 2]]
    return [levels[round(index * (len(levels) - 1) / (most - 1))] for index in range(most)]


def _interpolated(points: Sequence[tuple[float, float]], error: float) -> float:
    """Returns the loss at an error: linear between the points, and in proportion to the error beyond the last one."""
    last_error, last_loss = points[-1]
    if error > last_error:
        return last_loss * error / last_error if last_error > 0 else last_loss
    for (lower, loss_below), (upper, loss_above) in pairwise(points):
        if lower <= error < upper:
            return loss_below + (loss_above - loss_below) * (error - lower) / (upper - lower)
    return last_loss


@dataclass(frozen=True)
class _Variant:
    """A change of a model that is probed."""

    stack: str
    """Stack that the change is in. Changes of the decoder leave the outputs of the encoder as they are."""
    change: Callable[[], AbstractContextManager[None]]


def _probe(
    model: "PreTrainedModel",
    batches: Sequence[Batch],
    variants: Sequence[_Variant],
    context: Context,
    advance: Callable[[], None],
    deadline: float | None = None,
) -> tuple[list[float], int]:
    """Measures the divergence of each variant of a model, in nats a target token.

    All variants run each batch in turn, so that the model's own outputs are computed once. After the deadline no batch
    is begun, but a few pairs (FEWEST_PAIRS) are measured in any case.

    Returns:
        The divergences, and the number of target tokens that they were measured on.
    """
    totals, tokens, pairs = [0.0] * len(variants), 0, 0
    with torch.inference_mode():
        for batch in batches:
            if pairs >= FEWEST_PAIRS and deadline is not None and time.monotonic() > deadline:
                break
            on_device = batch.to(context.device)
            encoded = encoded_by(model, on_device)
            own = logits_of(model, on_device, encoded)
            for index, variant in enumerate(variants):
                with variant.change():
                    logits = logits_of(model, on_device, encoded if variant.stack == "decoder" else None)
                totals[index] += _summed_divergence(own, logits, on_device)
                advance()
            tokens += _targets(batch)
            pairs += batch.rows
    return [total / tokens for total in totals], tokens


def _removals_of_layers(
    model: "PreTrainedModel", batches: Sequence[Batch], context: Context
) -> dict[str, tuple[LayerLoss, ...]]:
    """Removes the layers of each stack one after the other, while the other stack is whole.

    The first removal tries all layers. Later ones try those again that added least when they were last tried.
    """
    stacks = architecture_of_model(model).stacks
    removals: dict[str, tuple[LayerLoss, ...]] = {}
    with context.progress() as display:
        task = display.add_task("Trying layers", total=_trials(len(stack.layers) for stack in stacks), status="")
        for stack in stacks:
            names = [layer.name for layer in stack.layers]
            left = list(range(len(names)))
            added = dict.fromkeys(left, 0.0)
            found: list[LayerLoss] = []
            while len(left) > 1:
                tried = sorted(left, key=lambda index: added[index])[: LAYERS_TRIED if found else None]
                removed = [names[each.layer] for each in found]
                variants = [_without(model, stack.name, [*removed, names[index]]) for index in tried]
                losses, _ = _probe(model, batches, variants, context, lambda: None)
                before = found[-1].loss if found else 0.0
                added |= {index: loss - before for index, loss in zip(tried, losses, strict=True)}
                best = min(tried, key=lambda index: added[index])
                left.remove(best)
                found.append(LayerLoss(best, before + added[best], max(0.0, added[best])))
                display.advance(task, len(tried))
            removals[stack.name] = tuple(found)
    return removals


def _trials(stacks: Iterable[int]) -> int:
    """Returns how many layers are tried in all, in stacks of some numbers of layers."""
    return sum(count + sum(min(left, LAYERS_TRIED) for left in range(2, count)) for count in stacks if count > 1)


def _without(model: "PreTrainedModel", stack: str, layers: Sequence[str]) -> _Variant:
    return _Variant(stack, lambda: skipping(model, layers))


def _summed_divergence(own: torch.Tensor, other: torch.Tensor, batch: Batch) -> float:
    # The rounding of floats can make nothing a little less than nothing.
    return max(0.0, float(distillation_loss(other, own, batch.labels))) * _targets(batch)


def _targets(batch: Batch) -> int:
    return int((batch.labels != IGNORED_LABEL).sum())
