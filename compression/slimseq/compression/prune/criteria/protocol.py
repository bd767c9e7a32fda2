"""What a criterion is handed and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from slimseq.compression.context import Context
from slimseq.compression.training.data import TrainingSet
from slimseq.inference.models.anatomy import Anatomy, Attention
from slimseq.models_store.manifest import Family

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

    def of_layers(self, anatomy: Anatomy, kept: Mapping[str, Sequence[int]]) -> "Importance":
        """Returns the scores of some layers under the names that they have once the others are gone.

        Args:
            anatomy: of the model that was measured.
            kept: layers that stay, ascending, for the `encoder` and the `decoder`.
        """
        channels: dict[str, torch.Tensor] = {}
        heads: dict[str, torch.Tensor] = {}
        for stack in anatomy.stacks:
            for new, old in enumerate(kept[stack.name]):
                there, here = stack.layers[new], stack.layers[old]
                channels[there.feed_forward.down] = self.channels[here.feed_forward.down]
                for after, before in zip(there.attentions, here.attentions, strict=True):
                    heads[after.output] = self.heads[before.output]
        return Importance(channels, heads, self.residual)


class Criterion(Protocol):
    """Scores the parts of a model."""

    def __call__(self, model: "PreTrainedModel", calibration: TrainingSet, context: Context) -> Importance:
        """Returns the scores.

        Args:
            model: a T5 or BART, in evaluation mode on `context.device`; left as it is.
            calibration: a few hundred pairs; all are run where the criterion looks at data.
            context: seed, device and progress.
        """


def residual_readers(anatomy: Anatomy) -> dict[str, list[str]]:
    """Returns, for each layer norm of a BART, the projections that read its output; nothing for a T5.

    Where norms come before the parts, each part reads its own norm, and the norm of the embeddings has no reader.
    """

    def projections(attention: Attention) -> list[str]:
        return [attention.query, attention.key, attention.value]

    readers: dict[str, list[str]] = {}
    if anatomy.family is not Family.BART:
        return readers
    for stack in anatomy.stacks:
        # Each part's readers, and the norm that follows the part.
        parts = [(f"model.{stack.name}.layernorm_embedding", list[str]())]
        for layer in stack.layers:
            parts.append((f"{layer.name}.self_attn_layer_norm", projections(layer.self_attention)))
            if layer.cross_attention is not None:
                parts.append((f"{layer.name}.encoder_attn_layer_norm", [layer.cross_attention.query]))
            parts.append((f"{layer.name}.final_layer_norm", list(layer.feed_forward.up)))
        after = ["lm_head"] if stack.name == "decoder" else []
        if stack.name == "encoder":
            for layer in anatomy.decoder.layers:
                assert layer.cross_attention is not None
                after += [layer.cross_attention.key, layer.cross_attention.value]
        norms = [norm for norm, _ in parts]
        reading = [names for _, names in parts[1:]]
        if anatomy.is_pre_norm:
            readers |= dict(zip([*norms[1:], f"model.{stack.name}.layer_norm"], [*reading, after], strict=True))
        else:
            readers |= dict(zip(norms, [*reading, after], strict=True))
            if not anatomy.has_embedding_norm:
                del readers[norms[0]]
    return readers


def residual_scores(by_norm: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """Returns scores of the residual channels from those at each layer norm, every norm counting the same.

    Args:
        by_norm: `(width,)` each; none at all gives None.
    """
    if not by_norm:
        return None
    return torch.stack([(score / score.mean().clamp(min=1e-30)).float().cpu() for score in by_norm.values()]).sum(0)


def weight_of(model: "PreTrainedModel", name: str) -> torch.Tensor:
    """Returns the weight of a linear module, `(out, in)`, detached."""
    return model.get_parameter(f"{name}.weight").detach()
