from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.train.data.batches import Batch, one_pass
from slimseq.compression.train.forward import output_of
from slimseq.compression.train.loss.objective import LayerMap, Objective, layer_map
from slimseq.compression.train.options import TrainingOptions
from slimseq.compression.train.schedule import Bounds
from tests.compression.tiny import tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family

OPTIONS = TrainingOptions(bounds=Bounds(max_steps=1), precision="fp32", label_smoothing=0.0, alpha=0.0)


def batch_of(tokenizer: Path) -> Batch:
    return next(one_pass(tiny_set(tokenizer), 400, pad_id=0))


@pytest.mark.parametrize("family", list(Family))
def test_the_total_is_the_weighted_sum_of_the_parts(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    student = tiny_model(family, tokenizer, seed=1, decoder_layers=1)
    teacher = tiny_model(family, tokenizer, seed=2)
    options = replace(OPTIONS, alpha=0.25, hidden_states=2.0, attention=3.0, guided_alignment=0.5)

    loss = Objective(student, teacher, options, "cpu").loss(batch_of(tokenizer))

    parts = {name: float(part) for name, part in loss.parts.items()}
    assert parts.keys() == {"labels", "teacher", "hidden", "attention", "guided"}
    assert float(loss.total.detach()) == pytest.approx(
        0.75 * parts["labels"]
        + 0.25 * parts["teacher"]
        + 2.0 * parts["hidden"]
        + 3.0 * parts["attention"]
        + 0.5 * parts["guided"],
        rel=1e-5,
    )


@pytest.mark.parametrize("family", list(Family))
def test_a_student_equal_to_its_teacher_has_no_loss_on_hidden_states_and_attention(
    tmp_path: Path, family: Family
) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    options = replace(OPTIONS, hidden_states=1.0, attention=1.0)
    student, teacher, other = (tiny_model(family, tokenizer, seed) for seed in (1, 1, 2))

    equal = Objective(student, teacher, options, "cpu").loss(batch_of(tokenizer)).parts
    different = Objective(student, other, options, "cpu").loss(batch_of(tokenizer)).parts

    assert float(equal["hidden"]) < 1e-6 and float(equal["attention"]) < 1e-5
    assert float(different["hidden"]) > 0.1 and float(different["attention"]) > 1e-4


@pytest.mark.parametrize("family", list(Family))
def test_teachers_of_other_widths_and_heads_are_projected_to(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    student = tiny_model(family, tokenizer, width=24, heads=2)
    teacher = tiny_model(family, tokenizer)
    objective = Objective(student, teacher, replace(OPTIONS, hidden_states=1.0, attention=1.0), "cpu")

    objective.loss(batch_of(tokenizer)).total.backward()  # type: ignore[no-untyped-call]

    (projection,) = objective.parameters()
    assert projection.shape == (32, 24)
    assert projection.grad is not None and float(projection.grad.abs().sum()) > 0


@pytest.mark.parametrize("change", [{}, {"guided_layers": ("1",)}])
def test_guiding_turns_the_first_head_of_the_middle_or_the_chosen_layers(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer, decoder_layers=3)
    objective = Objective(model, None, replace(OPTIONS, guided_alignment=1.0, **change), "cpu")
    batch = batch_of(tokenizer)
    copied = replace(batch, labels=batch.input_ids.masked_fill(batch.attention_mask == 0, -100))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    before = float(objective.loss(copied).parts["guided"])
    for _ in range(60):
        optimizer.zero_grad()
        objective.loss(copied).total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = float(objective.loss(copied).parts["guided"])
    weights = output_of(model, copied, attentions=True).cross_attentions[1]
    on_copied = weights.diagonal(dim1=-2, dim2=-1).detach()

    assert after < before - 0.3
    assert float(on_copied[:, 0].mean()) > 2 * float(on_copied[:, 1:].mean())


def test_without_its_logits_a_teacher_may_have_more_tokens_but_not_fewer(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    student, teacher = tiny_model(Family.T5, tokenizer), tiny_model(Family.T5, tokenizer)
    teacher.resize_token_embeddings(400)
    options = replace(OPTIONS, hidden_states=1.0)

    loss = Objective(student, teacher, options, "cpu").loss(batch_of(tokenizer))

    assert float(loss.parts["hidden"]) < 1e-6
    with pytest.raises(BadParameters, match="400 tokens"):
        Objective(student, teacher, replace(options, alpha=0.5), "cpu")
    with pytest.raises(BadParameters, match="400"):
        Objective(teacher, student, options, "cpu")


def test_a_layer_that_is_not_there_cannot_be_guided(tmp_path: Path) -> None:
    model = tiny_model(Family.T5, tiny_tokenizer(Family.T5, tmp_path))

    with pytest.raises(BadParameters, match="layer 2 cannot be guided"):
        Objective(model, None, replace(OPTIONS, guided_alignment=1.0, guided_layers=("2",)), "cpu")


@pytest.mark.parametrize("family", list(Family))
def test_layers_are_compared_with_their_origins_or_with_evenly_spaced_layers(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    teacher = tiny_model(family, tokenizer, encoder_layers=4, decoder_layers=3)
    student = tiny_model(family, tokenizer, encoder_layers=2, decoder_layers=1)

    assert layer_map(student, teacher) == LayerMap((1, 3), (2,))
    assert layer_map(student, teacher, {"encoder": [0, 3], "decoder": [0]}) == LayerMap((0, 3), (0,))
    with pytest.raises(BadParameters, match="1 decoder layers cannot be compared"):
        layer_map(student, teacher, {"encoder": [0, 3], "decoder": [0, 2]})
