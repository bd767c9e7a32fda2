"""The highest logits of each row are found without a sort of the whole vocabulary."""

import numpy as np
import pytest

from slimseq.inference.decoding.search import Scores, highest, scores_of

# 8 best tokens are what a search with three beams reads: twice as many as beams, and two more.
ROWS, TOP = 12, 8


def random_logits(vocabulary: int) -> Scores:
    generator = np.random.default_rng(vocabulary)
    logits = generator.normal(scale=3, size=(ROWS, vocabulary)).astype(np.float32)
    # Forbidden tokens.
    logits[generator.random(logits.shape) < 0.2] = -np.inf
    return logits


# As many tokens as are asked for, a few, and a number that is no multiple of anything.
@pytest.mark.parametrize("vocabulary", [TOP, 100, 8017])
def test_the_best_tokens_are_those_of_a_full_sort(vocabulary: int) -> None:
    logits = random_logits(vocabulary)

    found = scores_of(logits, top=TOP)

    np.testing.assert_array_equal(found.top_logits, -np.sort(-logits, axis=1)[:, :TOP])
    np.testing.assert_array_equal(np.take_along_axis(logits, found.top_tokens, axis=1), found.top_logits)


@pytest.mark.parametrize("count", [1, TOP])
def test_of_equal_scores_the_first_ones_are_taken(count: int) -> None:
    logits = np.zeros((ROWS, 100), dtype=np.float32)

    assert highest(logits, count).tolist() == [list(range(count))] * ROWS


def test_each_token_is_found_once_where_fewer_are_allowed_than_asked_for() -> None:
    logits = np.full((ROWS, 100), -np.inf, dtype=np.float32)
    logits[:, [7, 50]] = [1, 2]

    found = highest(logits, TOP)

    assert found[:, :2].tolist() == [[50, 7]] * ROWS
    assert [len(set(row)) for row in found.tolist()] == [TOP] * ROWS
