"""What training minimises: label-smoothed cross entropy, and the divergence from a teacher's distribution."""

import torch
from torch.nn import functional

from compression.training.batches import IGNORED_LABEL


def label_smoothed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Returns the mean cross entropy over target tokens, in nats.

    Padding is masked inside the loss, not by selecting rows before it: a copy of the logits is a tenth of a step.
    Label smoothing is that of Szegedy et al. 2016, https://arxiv.org/abs/1512.00567.

    Args:
        logits: `(rows, length, vocabulary)`, floating.
        labels: `(rows, length)`, int64, -100 where there is no target.
        smoothing: share of the target's probability that is spread over the vocabulary.

    Returns:
        A scalar, float32.
    """
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED_LABEL, label_smoothing=smoothing
    )


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Returns temperature² times the mean KL(teacher || student) over target tokens, in nats.

    Hinton et al. 2015, https://arxiv.org/abs/1503.02531: both distributions are softened by the temperature, and its
    square keeps the gradient's size independent of it.

    Args:
        student: logits, `(rows, length, vocabulary)`, floating.
        teacher: logits of the same shape, without gradient.
        labels: `(rows, length)`, int64, -100 where there is no target.
        temperature: divides both logits; above 0.

    Returns:
        A scalar, float32.
    """
    scaled = teacher.float() / temperature
    log_normaliser = scaled.logsumexp(-1)
    probabilities = torch.exp(scaled - log_normaliser.unsqueeze(-1))
    student_log_probabilities = functional.log_softmax(student.float() / temperature, dim=-1)
    # einsum sums the products as it makes them; `kl_div` would hold one more tensor of the logits' size.
    teacher_log_probability = torch.einsum("rlv,rlv->rl", probabilities, scaled) - log_normaliser
    cross_log_probability = torch.einsum("rlv,rlv->rl", probabilities, student_log_probabilities)
    is_target = (labels != IGNORED_LABEL).to(scaled.dtype)
    divergence = ((teacher_log_probability - cross_log_probability) * is_target).sum() / is_target.sum().clamp(min=1)
    return divergence * temperature**2
