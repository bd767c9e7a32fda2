"""Scores how much each part of a model matters. Pruning removes the parts with the lowest scores.

A criterion is a file of its name in `criteria/`, with a function `score` that takes the arguments of
`measure_importance`. `prune_options.CriterionName` lists the criteria.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from slimseq.compression.context import Context
from slimseq.compression.prune.prune_options import CriterionName
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.inference.models.architecture import Architecture, Attention, Cell, FeedForward

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Tokens in a batch of calibration pairs: so few that the logits of a large vocabulary take less memory than the model.
CALIBRATION_TOKENS = 1024


@dataclass(frozen=True)
class Importance:
    """Scores of a model's parts, float32 on the CPU. A part with a higher score matters more."""

    channels: dict[str, torch.Tensor]
    """Scores of feed-forward channels, `(feed_forward,)`, by the name of the down projection."""
    heads: dict[str, torch.Tensor]
    """Scores of attention heads, `(heads,)`, by the name of the output projection."""
    residual: torch.Tensor | None
    """Scores of residual channels, `(width,)`. None for a family whose width is never cut, such as T5."""

    def of_layers(self, architecture: Architecture, kept: Mapping[str, Sequence[int]]) -> "Importance":
        """Returns the scores of some layers under the names that they have once the others are gone.

        `architecture` is that of the model that was measured; `kept` has the layers that stay, ascending, by stack.
        """
        channels: dict[str, torch.Tensor] = {}
        heads: dict[str, torch.Tensor] = {}
        for stack in architecture.stacks:
            for new, old in enumerate(kept[stack.name]):
                new_layer, old_layer = stack.layers[new], stack.layers[old]
                channels[new_layer.feed_forward.down] = self.channels[old_layer.feed_forward.down]
                for after, before in zip(new_layer.attentions, old_layer.attentions, strict=True):
                    heads[after.output] = self.heads[before.output]
        return Importance(channels, heads, self.residual)


def measure_importance(
    model: "PreTrainedModel", calibration: TrainingSet, context: Context, criterion: CriterionName = "wanda"
) -> Importance:
    """Scores the parts of a model on all calibration pairs, without their padding.

    Afterwards the model is on `context.device` and in evaluation mode. Its weights stay the same.
    """
    model.to(context.device)  # type: ignore[arg-type]
    model.train(False)
    module = importlib.import_module(f"slimseq.compression.prune.criteria.{criterion}")
    return cast(Importance, module.score(model, calibration, context))


def residual_readers(architecture: Architecture) -> dict[str, list[str]]:
    """Returns, for each norm of the residual stream, the projections that read its output.

    It is empty for a family whose width is never cut. In a model whose norms come before the parts (pre-norm), each
    part reads its own norm. Otherwise each part reads the norm of the part before it, and the first part reads the norm
    of the embeddings.
    """
    readers: dict[str, list[str]] = {}
    if architecture.has_own_head_width:
        return readers
    for stack in architecture.stacks:
        parts = [part for layer in stack.layers for part in layer.parts]
        cross = [layer.cross_attention for layer in stack.layers]
        reading = [_reading(part, is_cross=part in cross) for part in parts]
        # The last norm of the decoder is read by the output layer, that of the encoder by all cross-attentions.
        last_readers = ["lm_head"]
        if stack is architecture.encoder:
            attentions = [layer.cross_attention for layer in architecture.decoder.layers]
            last_readers = [name for each in attentions if each is not None for name in (each.key, each.value)]
        if architecture.is_pre_norm:
            norms = [*(part.norm for part in parts), stack.final_norm]
        else:
            norms = [stack.embedding_norm, *(part.norm for part in parts)]
        # A norm that the model lacks, such as that of the embeddings, is None.
        pairs = zip(norms, [*reading, last_readers], strict=True)
        readers |= {norm: names for norm, names in pairs if norm is not None}
    return readers


def _reading(part: Attention | Cell | FeedForward, is_cross: bool) -> list[str]:
    """Returns the projections of a part that read the residual stream of their own stack."""
    if isinstance(part, FeedForward):
        return list(part.up)
    if isinstance(part, Cell):
        return [part.forget, part.input]
    return [part.query] if is_cross else [part.query, part.key, part.value]


def residual_scores(by_norm: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """Sums the scores of the residual channels at all layer norms, `(width,)`. Each norm has the same weight.

    Returns None if there are no norms.
    """
    if not by_norm:
        return None
    return torch.stack([(score / score.mean().clamp(min=1e-30)).float().cpu() for score in by_norm.values()]).sum(0)


def head_widths(architecture: Architecture) -> dict[str, int]:
    """Returns the width of the heads of each attention, by its output projection."""
    return {
        attention.output: attention.heads.width
        for stack in architecture.stacks
        for layer in stack.layers
        for attention in layer.attentions
    }


def weight_of(model: "PreTrainedModel", name: str) -> torch.Tensor:
    return model.get_parameter(f"{name}.weight").detach()
