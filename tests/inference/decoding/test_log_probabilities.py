"""Each search knows how probable the model finds what it returns: the softmax of its logits, and nothing else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.sampling import SamplingSearch
from slimseq.inference.decoding.search import Scores, Search, log_sum_exp_of, scores_of, token_mean
from slimseq.models_store.generation import GenerationOptions
from tests.inference.decoding.configurations import START, plain_configuration

VOCABULARY = 30
PLAIN = plain_configuration(VOCABULARY)
STEPS = 9


def logits_after(prefix: Sequence[int]) -> Scores:
    """Stands for a model: returns random logits that depend on all tokens before, the start token first."""
    return np.random.default_rng(list(prefix)).normal(scale=2, size=VOCABULARY).astype(np.float32)


@pytest.mark.parametrize(
    ("search", "settings"),
    [
        (GreedySearch(PLAIN), {"repetition_penalty": 1.7}),
        (SamplingSearch(PLAIN), {"do_sample": True, "seed": 2, "temperature": 3.0}),
        (BeamSearch(PLAIN, 3), {"num_beams": 3, "length_penalty": 2.0}),
    ],
    ids=["greedy", "sampling", "beams"],
)
def test_an_output_that_is_cut_has_the_mean_of_its_tokens_so_far(search: Search, settings: dict[str, Any]) -> None:
    search.join([GenerationOptions(max_new_tokens=STEPS, **settings)], [False])
    assert search.cut(0).mean_log_probability is None

    logits = logits_after([START])
    search.advance(scores_of(np.stack([logits] * search.num_beams), search.top))

    cut = search.cut(0)
    expected = logits[cut.ids[0]] - np.log(np.exp(logits.astype(np.float64)).sum())
    assert len(cut.ids) == 1
    assert cut.mean_log_probability == pytest.approx(expected, abs=1e-6)


def test_no_tokens_and_sums_that_are_no_numbers_have_no_mean() -> None:
    assert token_mean(0.0, []) is None
    assert token_mean(float("nan"), [4]) is None
    assert token_mean(float("-inf"), [4]) is None


def test_a_mean_that_rounding_lifted_above_0_is_0() -> None:
    assert token_mean(1e-7, [4, 5]) == 0.0


def test_the_logsumexp_is_that_of_all_logits() -> None:
    logits = np.stack([logits_after([row]) for row in range(3)])

    assert log_sum_exp_of(logits) == pytest.approx(np.log(np.exp(logits).sum(axis=1)), abs=1e-5)
