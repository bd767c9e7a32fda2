import numpy as np
import pytest

from models_store.decoding.continuations import best_continuations, log_normaliser
from models_store.decoding.stepper import Scores

INPUTS, BEAMS, COUNT = 3, 4, 8


def random_logits(vocabulary: int) -> Scores:
    generator = np.random.default_rng(vocabulary)
    logits = generator.normal(scale=3, size=(INPUTS * BEAMS, vocabulary)).astype(np.float32)
    logits[generator.random(logits.shape) < 0.2] = -np.inf
    return logits


# Fewer tokens than are folded together, a multiple of what is folded, and some left over.
@pytest.mark.parametrize("vocabulary", [5, 64, 100, 8000, 8017])
def test_the_best_continuations_are_those_of_a_full_sort(vocabulary: int) -> None:
    logits = random_logits(vocabulary)
    offsets = np.random.default_rng(1).normal(size=(INPUTS, BEAMS)).astype(np.float32)

    found = best_continuations(logits, offsets, COUNT)

    totals = logits.reshape(INPUTS, BEAMS, vocabulary) + offsets[:, :, None]
    best = -np.sort(-totals.reshape(INPUTS, -1), axis=1)[:, :COUNT]
    np.testing.assert_array_equal(found.scores, best)
    np.testing.assert_array_equal(totals[np.arange(INPUTS)[:, None], found.beams, found.tokens], best)


def test_a_normaliser_makes_probabilities_of_logits() -> None:
    logits = random_logits(100) + np.float32(90)

    probabilities = np.exp(logits - log_normaliser(logits)[:, None])

    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
