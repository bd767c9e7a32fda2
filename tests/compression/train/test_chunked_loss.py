"""The loss that is computed a few tokens at a time is the one of the definitions, and so is its gradient."""

import pytest
import torch

from slimseq.compression.train import chunked_loss
from slimseq.compression.train.chunked_loss import training_loss
from slimseq.compression.train.loss import distillation_loss, label_smoothed_cross_entropy

ROWS, LENGTH, VOCABULARY = 3, 5, 11
ALPHA = 0.3


def random_logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(ROWS, LENGTH, VOCABULARY, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def labels() -> torch.Tensor:
    chosen = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(2))
    chosen[1, 3:] = -100
    return chosen


@pytest.fixture(autouse=True)
def two_tokens_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_loss, "CHUNK", 2 * VOCABULARY)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_losses_and_gradient_with_a_teacher_are_those_of_autograd(
    labels: torch.Tensor, smoothing: float, temperature: float
) -> None:
    teacher = random_logits(1)
    plain = random_logits(0).requires_grad_()
    expected_labels = label_smoothed_cross_entropy(plain, labels, smoothing)
    expected_teacher = distillation_loss(plain, teacher, labels, temperature)
    expected = (1 - ALPHA) * expected_labels + ALPHA * expected_teacher
    expected.backward()  # type: ignore[no-untyped-call]

    logits = random_logits(0).requires_grad_()
    found = training_loss(logits, labels, teacher, smoothing, ALPHA, temperature)
    found[0].backward()  # type: ignore[no-untyped-call]

    torch.testing.assert_close(torch.stack(found), torch.stack([expected, expected_labels, expected_teacher]))
    torch.testing.assert_close(logits.grad, plain.grad)


def test_without_a_teacher_the_loss_is_that_of_labels(labels: torch.Tensor) -> None:
    plain = random_logits(0).requires_grad_()
    expected = label_smoothed_cross_entropy(plain, labels, 0.1)
    expected.backward()  # type: ignore[no-untyped-call]

    logits = random_logits(0).requires_grad_()
    total, _, _ = training_loss(logits, labels, smoothing=0.1, alpha=0.5)
    total.backward()  # type: ignore[no-untyped-call]

    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(logits.grad, plain.grad)


def test_a_loss_that_is_divided_has_a_gradient_that_is_divided(labels: torch.Tensor) -> None:
    logits, halved = random_logits(0).requires_grad_(), random_logits(0).requires_grad_()

    training_loss(logits, labels)[0].backward()  # type: ignore[no-untyped-call]
    (training_loss(halved, labels)[0] / 2).backward()  # type: ignore[no-untyped-call]

    assert logits.grad is not None
    torch.testing.assert_close(halved.grad, logits.grad / 2)


def test_logits_without_a_target_cost_nothing() -> None:
    logits = random_logits(0).requires_grad_()
    no_target = torch.full((ROWS, LENGTH), -100)

    total, _, _ = training_loss(logits, no_target)
    total.backward()  # type: ignore[no-untyped-call]

    assert float(total.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()
