import numpy as np
import torch

from slimseq.compression.train.embedded.copy_alignment import copy_alignment, copy_alignments
from tests.cpu_time import cpu_seconds


def test_a_copied_run_is_aligned_token_by_token() -> None:
    assert copy_alignment([9, 5, 6, 7, 1], [5, 6, 7, 1]) == [1, 2, 3, 4]


def test_a_token_that_agrees_by_chance_is_not_aligned() -> None:
    assert copy_alignment([5, 6, 7, 8], [5, 9, 8]) == [-1, -1, -1]


def test_a_run_begins_where_the_following_tokens_agree_longest() -> None:
    assert copy_alignment([5, 6, 9, 5, 6, 7, 8], [5, 6, 7, 8]) == [3, 4, 5, 6]


def test_the_first_of_equal_positions_is_chosen() -> None:
    assert copy_alignment([5, 6, 9, 5, 6], [5, 6]) == [0, 1]


def test_a_run_continues_although_another_position_has_the_token() -> None:
    assert copy_alignment([7, 8, 5, 6, 7, 3], [5, 6, 7, 8]) == [2, 3, 4, -1]


def test_text_that_is_not_copied_interrupts_a_run() -> None:
    assert copy_alignment([5, 6, 7, 8, 9], [5, 6, 40, 8, 9]) == [0, 1, -1, 3, 4]


def test_padding_is_never_aligned() -> None:
    sources = torch.tensor([[5, 6, 1, 0, 0], [7, 8, 9, 4, 1]])
    labels = torch.tensor([[5, 6, 1, -100], [8, 9, 1, -100]])

    assert copy_alignments(sources, labels).tolist() == [[0, 1, 2, -1], [1, 2, -1, -1]]


def test_a_batch_is_aligned_in_a_few_milliseconds() -> None:
    ids = np.random.default_rng(0).zipf(1.3, size=(4, 450)).clip(2, 8000)
    sources, labels = torch.tensor(ids), torch.tensor(ids[:, 100:200].copy())

    assert cpu_seconds(lambda: copy_alignments(sources, labels)) < 0.05
