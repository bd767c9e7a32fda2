"""The loss of a training run: its parts, their weighted sum for a batch, and the mean over a whole data set.

`chunked_loss` computes the loss of a training step with its gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.train.chunked_loss import training_loss
from slimseq.compression.train.data.batches import IGNORED_LABEL, Batch, one_pass
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.compression.train.forward import autocast, logits_of, pad_id_of
from slimseq.compression.train.training_options import Precision, TrainingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Rows of a batch times its longest side, when the loss on dev data is measured.
DEV_BATCH_TOKENS = 4096


def label_smoothed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Returns the mean cross entropy over target tokens, in nats, a scalar, float32.

    Label smoothing is that of Szegedy et al. 2016, https://arxiv.org/abs/1512.00567. The loss itself leaves out the
    padding: to select the targets before it would copy the logits, which takes a tenth of a step.

    Args:
        logits: `(rows, length, vocabulary)`.
        labels: `(rows, length)`, int64, -100 for positions without a target.
        smoothing: probability that is spread over the whole vocabulary.
    """
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED_LABEL, label_smoothing=smoothing
    )


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Returns temperature² times the mean KL(teacher || student) over target tokens, in nats, a scalar, float32.

    Hinton et al. 2015, https://arxiv.org/abs/1503.02531: the temperature softens both distributions; its square keeps
    the size of the gradient independent of it. Logits and labels are as in `label_smoothed_cross_entropy`.
    """
    teacher_logits = teacher.float() / temperature
    teacher_logsumexp = teacher_logits.logsumexp(-1)
    probabilities = torch.exp(teacher_logits - teacher_logsumexp.unsqueeze(-1))
    student_log_probabilities = functional.log_softmax(student.float() / temperature, dim=-1)
    # The KL divergence is the teacher's negative entropy minus the expectation of the student's log probability.
    # `kl_div` would allocate one more tensor of the logits' size; einsum does not.
    negative_entropy = torch.einsum("rlv,rlv->rl", probabilities, teacher_logits) - teacher_logsumexp
    student_expectation = torch.einsum("rlv,rlv->rl", probabilities, student_log_probabilities)
    is_target = (labels != IGNORED_LABEL).to(teacher_logits.dtype)
    divergence = ((negative_entropy - student_expectation) * is_target).sum() / is_target.sum().clamp(min=1)
    return divergence * temperature**2


@dataclass(frozen=True)
class Loss:
    """The loss of one batch: the total to minimize, and its parts without their weights, scalars, float32."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class Objective:
    """Computes the loss of the trained model: against the labels, and against a teacher if there is one.

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
        teacher_logits = None
        with autocast(self._device, options.precision):
            logits = logits_of(self._model, batch)
            if self._teacher is not None:
                with torch.no_grad():
                    teacher_logits = logits_of(self._teacher, batch)
        # The losses stand outside of autocast, which would round their products to bf16. They compute in fp32.
        total, of_labels, of_teacher = training_loss(
            logits, batch.labels, teacher_logits, options.label_smoothing, options.alpha, options.temperature
        )
        parts = {"labels": of_labels}
        if teacher_logits is not None:
            parts["teacher"] = of_teacher
        return Loss(total, parts)


def dev_loss(model: "PreTrainedModel", dataset: TrainingSet, context: Context, precision: Precision = "auto") -> float:
    """Returns the mean cross entropy over all target tokens of a data set, in nats, without label smoothing."""
    with context.progress() as display:
        task = display.add_task("Measuring the loss on dev data", total=len(dataset), status="", unit="pairs")
        loss = mean_loss(
            model, dataset, context.device, DEV_BATCH_TOKENS, precision, lambda rows: display.advance(task, rows)
        )
    return round(loss, 4)


def mean_loss(
    model: "PreTrainedModel",
    dataset: TrainingSet,
    device: str,
    batch_tokens: int,
    precision: Precision = "fp32",
    advance: Callable[[int], None] = lambda _: None,
) -> float:
    """Returns the mean cross entropy over all target tokens, in nats, not rounded.

    The model is left in evaluation mode. `batch_tokens` bounds the rows of a batch times its longest side. `advance`
    is called with the number of pairs of each batch, for a progress display.
    """
    model.train(False)
    loss_sum, target_count = 0.0, 0
    with torch.inference_mode():
        for batch in one_pass(dataset, batch_tokens, pad_id_of(model)):
            on_device = batch.to(device)
            with autocast(device, precision):
                loss = label_smoothed_cross_entropy(logits_of(model, on_device), on_device.labels)
            targets = int((batch.labels >= 0).sum())
            loss_sum += float(loss) * targets
            target_count += targets
            advance(batch.rows)
    return loss_sum / target_count
