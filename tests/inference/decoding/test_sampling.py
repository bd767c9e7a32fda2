"""Sampling draws from the tokens that transformers leaves, as often as they are likely, and the same in any batch."""

from typing import Any

import numpy as np
import pytest

from slimseq.inference.decoding.sampling import SamplingSearch, most_probable
from slimseq.inference.decoding.search import scores_of
from slimseq.models_store.generation import GenerationOptions
from tests.inference.decoding.configurations import plain_configuration

VOCABULARY = 40
CONFIGURATION = plain_configuration(VOCABULARY)


def drawn(options: list[GenerationOptions], logits: Any, steps: int) -> list[list[int]]:
    """Draws so many tokens of each row, all rows with the same logits at each step."""
    search = SamplingSearch(CONFIGURATION)
    search.join(options, [False] * len(options))
    for _ in range(steps):
        search.advance(scores_of(np.tile(logits, (len(options), 1)), 1))
    return [search.cut(row).ids for row in range(len(options))]


def options(**changes: Any) -> GenerationOptions:
    """Returns options of sampling that never end an output early."""
    return GenerationOptions(**({"do_sample": True, "min_new_tokens": 500, "max_new_tokens": 500} | changes))


@pytest.mark.parametrize("top_k", [0, 1, 7, 100])
@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.9, 1.0])
def test_draws_are_among_the_tokens_that_transformers_leaves(top_k: int, top_p: float) -> None:
    import torch
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    logits = np.random.default_rng(3).normal(scale=2, size=VOCABULARY).astype(np.float32)
    warped = torch.tensor(logits)[None]
    if top_k:
        warped = TopKLogitsWarper(top_k)(torch.zeros(1, 1), warped)
    if top_p < 1:
        warped = TopPLogitsWarper(top_p)(torch.zeros(1, 1), warped)

    tokens, weights = most_probable(logits, top_k, top_p)

    expected = warped[0].softmax(0).numpy()
    assert sorted(tokens.tolist()) == np.nonzero(expected)[0].tolist()
    np.testing.assert_allclose(weights / weights.sum(), expected[tokens], rtol=1e-4)


def test_tokens_come_as_often_as_they_are_likely() -> None:
    logits = np.full(VOCABULARY, -np.inf, dtype=np.float32)
    logits[[5, 6, 7]] = np.log([0.6, 0.3, 0.1])

    [ids] = drawn([options(seed=1, max_new_tokens=1000, min_new_tokens=1000)], logits, 999)

    np.testing.assert_allclose(np.bincount(ids, minlength=8)[5:8] / len(ids), [0.6, 0.3, 0.1], atol=0.05)


def test_a_row_draws_the_same_alone_and_among_others() -> None:
    logits = np.random.default_rng(0).normal(size=VOCABULARY).astype(np.float32)
    rows = [options(seed=5), options(seed=6, temperature=3.0), options(seed=5, top_k=4)]

    together = drawn(rows, logits, 20)

    assert together == [drawn([row], logits, 20)[0] for row in rows]
    assert together[0] != together[1]


def test_rules_hold_for_draws_too() -> None:
    logits = np.zeros(VOCABULARY, dtype=np.float32)

    [ids] = drawn([options(seed=2, no_repeat_ngram_size=1)], logits, VOCABULARY - 2)

    assert len(set(ids)) == len(ids), "a token came twice"
    # The minimum length forbids the end token, and the start token was there before.
    assert not {CONFIGURATION.eos_id, CONFIGURATION.decoder_start_id} & set(ids)


# The first two are 0 in float32 where they are multiplied by a sum.
@pytest.mark.parametrize("top_p", [1e-320, 1e-45, 1e-6])
def test_the_most_probable_token_is_kept_for_every_top_p(top_p: float) -> None:
    logits = np.array([0.5, 3.0, 1.0], dtype=np.float32)

    tokens, probabilities = most_probable(logits, 0, top_p)

    assert tokens.tolist() == [1]
    assert probabilities.tolist() == [1.0]
