"""The loss of one run: a weighted sum of parts, and the outputs of student and teacher that they need."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.train.data.batches import Batch
from slimseq.compression.train.forward import autocast, logits_of
from slimseq.compression.train.loss.losses import distillation_loss, label_smoothed_cross_entropy
from slimseq.compression.train.options import TrainingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Loss:
    """The loss of one batch: the total to minimize, and its parts without their weights, scalars, float32."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class Objective:
    """Computes a run's loss of a model, the student, with a teacher without dropout or from labels only.

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
        if self._teacher is not None:
            theirs, ours = self._teacher.config.vocab_size, model.config.vocab_size
            if theirs != ours:
                raise BadParameters(f"the teacher has {theirs} tokens and the student {ours}")

    def loss(self, batch: Batch) -> Loss:
        """Returns the loss of one batch, which is on the model's device."""
        options = self._options
        with autocast(self._device, options.precision):
            # Once, here: every loss of the logits computes in fp32.
            logits = logits_of(self._model, batch).float()
            parts = {"labels": label_smoothed_cross_entropy(logits, batch.labels, options.label_smoothing)}
            weights = {"labels": 1.0}
            if self._teacher is not None:
                with torch.no_grad():
                    wanted = logits_of(self._teacher, batch)
                parts["teacher"] = distillation_loss(logits, wanted, batch.labels, options.temperature)
                weights = {"labels": 1 - options.alpha, "teacher": options.alpha}
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return Loss(total, {name: part.detach() for name, part in parts.items()})
