"""Batches of similar lengths under a token budget, deterministic for a seed and an epoch, resumable from a position.

Pairs are shuffled and split into pools. Each pool is sorted by length and cut into batches, so that there is little
padding. The batches of a pool are shuffled, so that the order is random.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from slimseq.compression.train.data.training_data import TokenPair, TrainingSet

POOL_PAIRS = 4096
# The label of padding, which torch's cross entropy ignores by default.
IGNORED_LABEL = -100


@dataclass(frozen=True)
class Position:
    """A position in the stream of batches: the next batch."""

    epoch: int = 0
    pool: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Batch:
    """Padded ids of a few pairs, and the position after them.

    `input_ids` and `attention_mask` are `(rows, source_length)`, `labels` is `(rows, target_length)`, all int64;
    labels are -100 for padding. `tokens` counts the ids of both sides without padding.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    tokens: int
    after: Position

    @property
    def rows(self) -> int:
        return self.input_ids.shape[0]

    def to(self, device: str) -> "Batch":
        return Batch(
            self.input_ids.to(device), self.attention_mask.to(device), self.labels.to(device), self.tokens, self.after
        )


def endless_batches(
    dataset: TrainingSet, tokens_per_batch: int, pad_id: int, seed: int, position: Position = Position()
) -> Iterator[Batch]:
    """Yields batches epoch after epoch, without end, from a position in the stream.

    `tokens_per_batch` is the maximum of rows times longest side; a longer pair is a batch of its own. The seed and the
    epoch determine the order.
    """
    while True:
        order = np.random.default_rng((seed, position.epoch)).permutation(len(dataset))
        pools = range(0, len(order), POOL_PAIRS)
        while position.pool < len(pools):
            start = pools[position.pool]
            pairs = [dataset[int(index)] for index in order[start : start + POOL_PAIRS]]
            groups = grouped(pairs, tokens_per_batch)
            shuffled = np.random.default_rng((seed, position.epoch, position.pool)).permutation(len(groups))
            while position.batch < len(groups):
                group = groups[int(shuffled[position.batch])]
                position = Position(position.epoch, position.pool, position.batch + 1)
                yield padded(group, pad_id, position)
            position = Position(position.epoch, position.pool + 1)
        position = Position(position.epoch + 1)


def one_pass(dataset: TrainingSet, tokens_per_batch: int, pad_id: int) -> Iterator[Batch]:
    """Yields every pair once, in batches of similar lengths, in a fixed order: for measuring."""
    for start in range(0, len(dataset), POOL_PAIRS):
        pairs = [dataset[index] for index in range(start, min(start + POOL_PAIRS, len(dataset)))]
        for group in grouped(pairs, tokens_per_batch):
            yield padded(group, pad_id, Position())


def grouped(pairs: Sequence[TokenPair], tokens_per_batch: int) -> list[list[TokenPair]]:
    """Cuts pairs, sorted by length, into groups whose rows times longest side stay within the budget."""
    groups: list[list[TokenPair]] = []
    longest = 0
    for pair in sorted(pairs, key=lambda pair: (pair.longest, len(pair.source), len(pair.target))):
        longest = max(longest, pair.longest)
        if not groups or (len(groups[-1]) + 1) * longest > tokens_per_batch:
            groups.append([])
            longest = pair.longest
        groups[-1].append(pair)
    return groups


def padded(pairs: Sequence[TokenPair], pad_id: int, after: Position) -> Batch:
    """Makes one batch of some pairs."""
    source_length = max(len(pair.source) for pair in pairs)
    target_length = max(len(pair.target) for pair in pairs)
    input_ids = torch.full((len(pairs), source_length), pad_id, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full((len(pairs), target_length), IGNORED_LABEL, dtype=torch.int64)
    for row, pair in enumerate(pairs):
        input_ids[row, : len(pair.source)] = torch.tensor(pair.source)
        attention_mask[row, : len(pair.source)] = 1
        labels[row, : len(pair.target)] = torch.tensor(pair.target)
    tokens = sum(len(pair.source) + len(pair.target) for pair in pairs)
    return Batch(input_ids, attention_mask, labels, tokens, after)
