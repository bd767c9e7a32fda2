"""The losses of a training against their definitions."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from slimseq.compression.train.data.batches import one_pass
from slimseq.compression.train.forward import autocast, logits_of
from slimseq.compression.train.loss import Objective, distillation_loss, label_smoothed_cross_entropy
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.training_options import TrainingOptions
from tests.compression.tiny import tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family

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


@pytest.mark.parametrize("family", list(Family))
def test_the_total_is_the_weighted_sum_of_the_parts(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    student = tiny_model(family, tokenizer, seed=1, decoder_layers=1)
    teacher = tiny_model(family, tokenizer, seed=2)
    options = TrainingOptions(bounds=Bounds(max_steps=1), precision="fp32", label_smoothing=0.0, alpha=0.25)

    loss = Objective(student, teacher, options, "cpu").loss(next(one_pass(tiny_set(tokenizer), 400, pad_id=0)))

    parts = {name: float(part) for name, part in loss.parts.items()}
    assert parts.keys() == {"labels", "teacher"}
    total = 0.75 * parts["labels"] + 0.25 * parts["teacher"]
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("family", list(Family))
def test_logits_in_bf16_give_a_loss_that_is_computed_in_fp32(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    student = tiny_model(family, tokenizer, seed=1)
    teacher = tiny_model(family, tokenizer, seed=2)
    options = TrainingOptions(bounds=Bounds(max_steps=1), precision="bf16", label_smoothing=0.0, alpha=0.5)
    batch = next(one_pass(tiny_set(tokenizer), 400, pad_id=0))
    with torch.no_grad(), autocast("cpu", "bf16"):
        logits, teacher_logits = logits_of(student, batch), logits_of(teacher, batch)
    expected = distillation_loss(logits, teacher_logits, batch.labels)

    loss = Objective(student, teacher, options, "cpu").loss(batch)

    # A product in bf16 has eight bits: it would be wrong in the third digit.
    assert float(loss.parts["teacher"]) == pytest.approx(float(expected), rel=1e-6)
