from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slimseq.compression.train.data.batches import Batch, one_pass
from slimseq.compression.train.forward import output_of
from slimseq.compression.train.loss.objective import Objective
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
    options = replace(OPTIONS, alpha=0.25, guided_alignment=0.5)

    loss = Objective(student, teacher, options, "cpu").loss(batch_of(tokenizer))

    parts = {name: float(part) for name, part in loss.parts.items()}
    assert parts.keys() == {"labels", "teacher", "guided"}
    total = 0.75 * parts["labels"] + 0.25 * parts["teacher"] + 0.5 * parts["guided"]
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-5)


def test_guiding_turns_the_first_head_of_the_middle_layer(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer, decoder_layers=3)
    objective = Objective(model, None, replace(OPTIONS, guided_alignment=1.0), "cpu")
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
