import numpy as np
import pytest
import torch

from slimseq.compression.train.embedded.copy_alignment import copy_alignment, copy_alignments
from tests.cpu_time import cpu_seconds


@pytest.mark.parametrize(
    ("source", "target", "aligned"),
    [
        ([9, 5, 6, 7, 1], [5, 6, 7, 1], [1, 2, 3, 4]),
        # A token that agrees by chance, and one that is not copied.
        ([5, 6, 7, 8], [5, 9, 8], [-1, -1, -1]),
        ([5, 6, 7, 8, 9], [5, 6, 40, 8, 9], [0, 1, -1, 3, 4]),
        # A run begins where the following tokens agree longest, at the first of equal places, and goes on there.
        ([5, 6, 9, 5, 6, 7, 8], [5, 6, 7, 8], [3, 4, 5, 6]),
        ([5, 6, 9, 5, 6], [5, 6], [0, 1]),
        ([7, 8, 5, 6, 7, 3], [5, 6, 7, 8], [2, 3, 4, -1]),
    ],
)
def test_copied_runs_are_aligned_token_by_token(source: list[int], target: list[int], aligned: list[int]) -> None:
    assert copy_alignment(source, target) == aligned


def test_padding_is_never_aligned() -> None:
    sources = torch.tensor([[5, 6, 1, 0, 0], [7, 8, 9, 4, 1]])
    labels = torch.tensor([[5, 6, 1, -100], [8, 9, 1, -100]])

    assert copy_alignments(sources, labels).tolist() == [[0, 1, 2, -1], [1, 2, -1, -1]]


def test_a_batch_is_aligned_in_a_few_milliseconds() -> None:
    ids = np.random.default_rng(0).zipf(1.3, size=(4, 450)).clip(2, 8000)
    sources, labels = torch.tensor(ids), torch.tensor(ids[:, 100:200].copy())

    assert cpu_seconds(lambda: copy_alignments(sources, labels)) < 0.05
