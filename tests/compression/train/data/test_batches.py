"""Training batches: token budget, padding, order and resumption."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from slimseq.compression.train.data import batches
from slimseq.compression.train.data.batches import Batch, endless_batches, one_pass
from tests.compression.tiny import EXAMPLES, tiny_set, tiny_tokenizer
from tests.families import Family

BUDGET = 120


def same(first: Batch, second: Batch) -> bool:
    return torch.equal(first.input_ids, second.input_ids) and torch.equal(first.labels, second.labels)


def test_batches_stay_within_the_budget_and_hold_every_pair_once_an_epoch(tmp_path: Path) -> None:
    dataset = tiny_set(tiny_tokenizer(Family.T5, tmp_path))

    first_epoch = [b for b in islice(endless_batches(dataset, BUDGET, 0, seed=1), 40) if b.after.epoch == 0]

    assert sum(batch.rows for batch in first_epoch) == len(EXAMPLES)
    assert all(b.rows * max(b.input_ids.shape[1], b.labels.shape[1]) <= BUDGET for b in first_epoch)


def test_padding_is_masked_in_sources_and_labels(tmp_path: Path) -> None:
    dataset = tiny_set(tiny_tokenizer(Family.BART, tmp_path))

    batch = next(one_pass(dataset, BUDGET, pad_id=1))
    lengths = sorted(len(dataset[i].target) for i in range(len(dataset)))

    assert torch.equal(batch.attention_mask == 0, batch.input_ids == 1)
    assert int((batch.labels != -100).sum(1).min()) >= lengths[0]
    assert batch.tokens == int(batch.attention_mask.sum()) + int((batch.labels != -100).sum())


def test_the_order_is_that_of_the_seed(tmp_path: Path) -> None:
    dataset = tiny_set(tiny_tokenizer(Family.T5, tmp_path))

    def stream(seed: int) -> list[Batch]:
        return list(islice(endless_batches(dataset, BUDGET, 0, seed), 12))

    assert all(same(a, b) for a, b in zip(stream(3), stream(3), strict=True))
    assert not all(same(a, b) for a, b in zip(stream(3), stream(4), strict=True))


@pytest.mark.parametrize("stop", [1, 4, 9])
def test_a_stream_continues_from_any_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    monkeypatch.setattr(batches, "POOL_PAIRS", 8)
    dataset = tiny_set(tiny_tokenizer(Family.T5, tmp_path))
    whole = list(islice(endless_batches(dataset, BUDGET, 0, seed=5), 20))

    rest = list(islice(endless_batches(dataset, BUDGET, 0, seed=5, position=whole[stop - 1].after), 20 - stop))

    assert all(same(a, b) for a, b in zip(whole[stop:], rest, strict=True))


def test_a_pair_longer_than_the_budget_gets_its_own_batch(tmp_path: Path) -> None:
    dataset = tiny_set(tiny_tokenizer(Family.T5, tmp_path))

    assert all(batch.rows == 1 for batch in one_pass(dataset, 1, pad_id=0))
