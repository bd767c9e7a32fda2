"""The loss of one run: a weighted sum of parts, and the outputs of student and teacher that they need."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import layer_counts
from slimseq.compression.train.data.batches import Batch
from slimseq.compression.train.embedded.copy_alignment import copy_alignments
from slimseq.compression.train.forward import autocast, logits_of, output_of
from slimseq.compression.train.loss.losses import (
    distillation_loss,
    guided_alignment_loss,
    label_smoothed_cross_entropy,
)
from slimseq.compression.train.options import TrainingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GUIDED_HEAD = 0


@dataclass(frozen=True)
class Loss:
    """The loss of one batch: the total to minimize, and its parts without their weights, scalars, float32."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class Objective:
    """Computes a run's loss.

    Args:
        model: the student, on its device; its attention becomes eager if a loss needs attention weights.
        teacher: on the same device, without dropout; None if the model learns from labels only.
        options: weights of the parts.
        device: of both.

    Raises:
        BadParameters: the teacher has other tokens than the student.
    """

    def __init__(
        self, model: "PreTrainedModel", teacher: "PreTrainedModel | None", options: TrainingOptions, device: str
    ) -> None:
        self._model = model
        self._teacher = teacher if options.alpha else None
        self._options = options
        self._device = device
        layers = layer_counts(model)["decoder"]
        # The middle layers.
        self._guided_layers = sorted({(layers - 1) // 2, layers // 2})
        if self._teacher is not None:
            theirs, ours = self._teacher.config.vocab_size, model.config.vocab_size
            if theirs != ours:
                raise BadParameters(f"the teacher has {theirs} tokens and the student {ours}")
        if options.guided_alignment:
            model.set_attn_implementation("eager")

    def loss(self, batch: Batch) -> Loss:
        """Returns the loss of one batch, which is on the model's device."""
        options = self._options
        with autocast(self._device, options.precision):
            found = output_of(self._model, batch, attentions=options.guided_alignment > 0)
            # Once, here: every loss of the logits computes in fp32.
            logits = found.logits.float()
            parts = {"labels": label_smoothed_cross_entropy(logits, batch.labels, options.label_smoothing)}
            weights = {"labels": 1.0}
            if options.guided_alignment:
                parts["guided"] = self._guided(found, batch)
                weights["guided"] = options.guided_alignment
            if self._teacher is not None:
                with torch.no_grad():
                    wanted = logits_of(self._teacher, batch)
                parts["teacher"] = distillation_loss(logits, wanted, batch.labels, options.temperature)
                weights |= {"labels": 1 - options.alpha, "teacher": options.alpha}
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return Loss(total, {name: part.detach() for name, part in parts.items()})

    def _guided(self, found: Any, batch: Batch) -> torch.Tensor:
        alignment = copy_alignments(batch.input_ids, batch.labels)
        losses = [
            guided_alignment_loss(found.cross_attentions[layer][:, GUIDED_HEAD], alignment)
            for layer in self._guided_layers
        ]
        return torch.stack(losses).mean()
