"""The highest logits of each row are found without a sort of the whole vocabulary."""

import numpy as np
import pytest

from slimseq.inference.decoding.search import Scores, scores_of

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
