"""The parts of the loss: cross entropy and distillation.

Each function returns one part for one batch; `objective` weighs them.
"""

import torch
from torch.nn import functional

from slimseq.compression.train.data.batches import IGNORED_LABEL


def label_smoothed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Returns the mean cross entropy over target tokens, in nats, a scalar, float32.

    Padding is masked in the loss. Selecting rows before it would copy the logits, which takes a tenth of a step. Label
    smoothing is that of Szegedy et al. 2016, https://arxiv.org/abs/1512.00567. Logits are `(rows, length, vocabulary)`,
    labels `(rows, length)`, int64, -100 for positions without a target.
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
    scaled = teacher.float() / temperature
    log_sum_exp = scaled.logsumexp(-1)
    probabilities = torch.exp(scaled - log_sum_exp.unsqueeze(-1))
    student_log_probabilities = functional.log_softmax(student.float() / temperature, dim=-1)
    # `kl_div` would allocate one more tensor of the logits' size; einsum does not.
    teacher_log_probability = torch.einsum("rlv,rlv->rl", probabilities, scaled) - log_sum_exp
    cross_log_probability = torch.einsum("rlv,rlv->rl", probabilities, student_log_probabilities)
    is_target = (labels != IGNORED_LABEL).to(scaled.dtype)
    divergence = ((teacher_log_probability - cross_log_probability) * is_target).sum() / is_target.sum().clamp(min=1)
    return divergence * temperature**2
