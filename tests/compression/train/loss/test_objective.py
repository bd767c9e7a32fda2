from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.train.data.batches import Batch, one_pass
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
    options = replace(OPTIONS, alpha=0.25)

    loss = Objective(student, teacher, options, "cpu").loss(batch_of(tokenizer))

    parts = {name: float(part) for name, part in loss.parts.items()}
    assert parts.keys() == {"labels", "teacher"}
    total = 0.75 * parts["labels"] + 0.25 * parts["teacher"]
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-5)
