from pathlib import Path

import pytest
import torch

from slimseq.compression.errors import BadData
from slimseq.compression.train.data.batches import Position
from slimseq.compression.train.data.pairs import TrainingSet
from slimseq.compression.train.embedded.copying import LONGEST_WINDOW, CopiedWindows, next_window
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.tokenizer import Tokenizer
from tests.compression.tiny import LIMITS, tiny_set, tiny_tokenizer
from tests.families import Family


def windows(folder: Path, seed: int = 0, family: Family = Family.T5) -> CopiedWindows:
    bos = 0 if family is Family.BART else None
    return CopiedWindows(tiny_set(tiny_tokenizer(family, folder)), 200, 1, bos, seed)


@pytest.mark.parametrize("family", list(Family))
def test_targets_are_their_sources_with_the_specials_around_a_window(tmp_path: Path, family: Family) -> None:
    batch = windows(tmp_path, family=family).batch(0, 6.0, Position(1, 2, 3))
    specials = 2 if family is Family.BART else 1
    lengths = batch.attention_mask.sum(1) - specials

    assert torch.equal(batch.input_ids[batch.attention_mask > 0], batch.labels[batch.labels >= 0])
    assert set(lengths.tolist()) == {3, 4, 5, 6}
    assert batch.rows * batch.input_ids.shape[1] <= 200
    assert batch.after == Position(1, 2, 3)


def test_the_seed_and_the_number_decide_a_batch(tmp_path: Path) -> None:
    first, same, other = (windows(tmp_path, seed).batch(7, 9.0, Position()).input_ids for seed in (1, 1, 2))
    later = windows(tmp_path, 1).batch(8, 9.0, Position()).input_ids

    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not torch.equal(first, later)


def test_windows_grow_with_the_accuracy_up_to_a_maximum() -> None:
    assert next_window(10.0, 0.96) == pytest.approx(11.5)
    assert next_window(10.0, 0.95) == 10.0
    assert next_window(LONGEST_WINDOW, 1.0) == LONGEST_WINDOW


def test_sources_without_a_window_are_refused(tmp_path: Path) -> None:
    dataset = TrainingSet([Example("", "")], Tokenizer(tiny_tokenizer(Family.T5, tmp_path)), "", LIMITS)

    with pytest.raises(BadData, match="too short to copy"):
        CopiedWindows(dataset, 200, 0, None, 0).batch(0, 6.0, Position())
