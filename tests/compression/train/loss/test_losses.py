import pytest
import torch
from torch.nn import functional

from slimseq.compression.train.loss.losses import distillation_loss, label_smoothed_cross_entropy

LOGITS = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([[1, 2, 3], [4, -100, -100]])


def test_smoothing_mixes_the_label_with_the_whole_vocabulary() -> None:
    log_probabilities = LOGITS.log_softmax(-1)[LABELS >= 0]
    labels = LABELS[LABELS >= 0]
    chosen = -log_probabilities.gather(1, labels.unsqueeze(1)).mean()
    spread = -log_probabilities.mean()

    loss = label_smoothed_cross_entropy(LOGITS, LABELS, 0.1)

    assert float(loss) == pytest.approx(float(0.9 * chosen + 0.1 * spread), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distillation_is_the_divergence_from_the_teacher_over_target_tokens(temperature: float) -> None:
    mask = LABELS >= 0
    student = (LOGITS[mask] / temperature).log_softmax(-1)
    teacher = (OTHER[mask] / temperature).log_softmax(-1)
    expected = functional.kl_div(student, teacher, log_target=True, reduction="batchmean") * temperature**2

    loss = distillation_loss(LOGITS, OTHER, LABELS, temperature)

    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
