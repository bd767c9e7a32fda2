"""How much each part of a model matters, which pruning ranks by.

A criterion is one file in `criteria/`, named after it, with a function `score` that takes what `measure_importance`
takes; its name is in `prune.options.CriterionName`.
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

# Small enough that the logits of a large vocabulary stay below the model itself.
CALIBRATION_TOKENS = 1024


@dataclass(frozen=True)
class Importance:
    """Scores by the name of the part, float32 on the CPU; higher matters more.

    `channels[down projection]` is `(feed_forward,)`, `heads[output projection]` is `(heads,)`, and `residual` is
    `(width,)`, or None where the family's width is never cut (T5).
    """

    channels: dict[str, torch.Tensor]
    heads: dict[str, torch.Tensor]
    residual: torch.Tensor | None

    def of_layers(self, architecture: Architecture, kept: Mapping[str, Sequence[int]]) -> "Importance":
        """Returns the scores of some layers under the names that they have once the others are gone.

        `architecture` is that of the model that was measured; `kept` has the layers that stay, ascending, by stack.
        """
        channels: dict[str, torch.Tensor] = {}
        heads: dict[str, torch.Tensor] = {}
        for stack in architecture.stacks:
            for new, old in enumerate(kept[stack.name]):
                there, here = stack.layers[new], stack.layers[old]
                channels[there.feed_forward.down] = self.channels[here.feed_forward.down]
                for after, before in zip(there.attentions, here.attentions, strict=True):
                    heads[after.output] = self.heads[before.output]
        return Importance(channels, heads, self.residual)


def measure_importance(
    model: "PreTrainedModel", calibration: TrainingSet, context: Context, criterion: CriterionName = "wanda"
) -> Importance:
    """Scores the parts of a model, which comes back on `context.device`, in evaluation mode, and else unchanged.

    All calibration pairs are run, a few hundred; padding is left out. Each criterion is described where it is defined.
    """
    model.to(context.device)  # type: ignore[arg-type]
    model.train(False)
    module = importlib.import_module(f"slimseq.compression.prune.criteria.{criterion}")
    return cast(Importance, module.score(model, calibration, context))


def residual_readers(architecture: Architecture) -> dict[str, list[str]]:
    """Returns, for each norm of the residual stream, the projections that read its output.

    Nothing where the width is never cut. Where norms come before the parts, each part reads its own norm, and the norm
    of the embeddings has no reader.
    """
    readers: dict[str, list[str]] = {}
    if architecture.has_own_head_width:
        return readers
    for stack in architecture.stacks:
        parts = [part for layer in stack.layers for part in layer.parts]
        cross = [layer.cross_attention for layer in stack.layers]
        reading = [_reading(part, is_cross=part in cross) for part in parts]
        after = ["lm_head"]
        if stack is architecture.encoder:
            attentions = [layer.cross_attention for layer in architecture.decoder.layers]
            after = [name for each in attentions if each is not None for name in (each.key, each.value)]
        if architecture.is_pre_norm:
            norms = [*(part.norm for part in parts), stack.final_norm]
        else:
            norms = [stack.embedding_norm, *(part.norm for part in parts)]
        # Without a norm of embeddings nothing normed is what the first part reads.
        readers |= {norm: names for norm, names in zip(norms, [*reading, after], strict=True) if norm is not None}
    return readers


def _reading(part: Attention | Cell | FeedForward, is_cross: bool) -> list[str]:
    if isinstance(part, FeedForward):
        return list(part.up)
    if isinstance(part, Cell):
        return [part.forget, part.input]
    return [part.query] if is_cross else [part.query, part.key, part.value]


def residual_scores(by_norm: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """Returns scores of the residual channels from those at each layer norm, `(width,)`, every norm counting the same.

    None where there are no norms.
    """
    if not by_norm:
        return None
    return torch.stack([(score / score.mean().clamp(min=1e-30)).float().cpu() for score in by_norm.values()]).sum(0)


def head_widths(architecture: Architecture) -> dict[str, int]:
    """Returns the width of the heads of each attention, by its output projection."""
    return {
        attention.output: stack.heads.width
        for stack in architecture.stacks
        for layer in stack.layers
        for attention in layer.attentions
    }


def weight_of(model: "PreTrainedModel", name: str) -> torch.Tensor:
    return model.get_parameter(f"{name}.weight").detach()
