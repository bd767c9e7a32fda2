import numpy as np
import pytest

from slimseq.inference.decoding.search import Scores, scores_of

ROWS, COUNT = 12, 8


def random_logits(vocabulary: int) -> Scores:
    generator = np.random.default_rng(vocabulary)
    logits = generator.normal(scale=3, size=(ROWS, vocabulary)).astype(np.float32)
    logits[generator.random(logits.shape) < 0.2] = -np.inf
    return logits


@pytest.mark.parametrize("vocabulary", [8, 100, 8017])
def test_the_best_tokens_are_those_of_a_full_sort(vocabulary: int) -> None:
    logits = random_logits(vocabulary)

    found = scores_of(logits, COUNT)

    np.testing.assert_array_equal(found.top_logits, -np.sort(-logits, axis=1)[:, :COUNT])
    np.testing.assert_array_equal(np.take_along_axis(logits, found.top_tokens, axis=1), found.top_logits)
