"""Each search knows how probable the model finds what it returns: the softmax of its logits, and nothing else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.sampling import SamplingSearch
from slimseq.inference.decoding.scores import Scores, log_sum_exp_of, scores_of
from slimseq.inference.decoding.search import Search, token_mean
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.generation import GenerationOptions

VOCABULARY, EOS, START, FORCED = 30, 1, 2, 7
PLAIN = ModelConfiguration(VOCABULARY, 1, 0, EOS, START, None, None, None)
FORCING = ModelConfiguration(VOCABULARY, 1, 0, EOS, START, FORCED, EOS, None)
STEPS = 9


def logits_after(prefix: Sequence[int]) -> Scores:
    """A model of its own: logits that depend on all tokens before, the start token first."""
    return np.random.default_rng(list(prefix)).normal(scale=2, size=VOCABULARY).astype(np.float32)


def generated(search: Search, options: list[GenerationOptions]) -> list[GeneratedSequence]:
    search.join(options, [False] * len(options))
    left = list(range(len(options)))
    prefixes = [[START] for _ in range(len(options) * search.num_beams)]
    found: dict[int, GeneratedSequence] = {}
    while left:
        prefixes = [
            [*prefix, token] if place else [token]
            for prefix, token, place in zip(prefixes, search.next_tokens(), search.positions(), strict=True)
        ]
        logits = np.stack([logits_after(prefix) for prefix in prefixes])
        step = search.advance(scores_of(logits, search.top))
        origins = np.zeros((len(left), 1), dtype=np.int64) if step.origins is None else step.origins
        prefixes = [prefixes[row * search.num_beams + beam] for row in range(len(left)) for beam in origins[row]]
        found |= {left[row]: sequence for row, sequence in step.finished.items()}
        kept = [row for row in range(len(left)) if row not in step.finished]
        search.keep(np.array(kept, dtype=np.int64))
        prefixes = [prefixes[row * search.num_beams + beam] for row in kept for beam in range(search.num_beams)]
        left = [left[row] for row in kept]
    return [found[row] for row in range(len(options))]


def expected_mean(ids: list[int], forced: Sequence[int] = ()) -> float:
    """The mean of the log-softmax at each token; forced positions count as certain."""
    total = 0.0
    for place, token in enumerate(ids):
        logits = logits_after([START, *ids[:place]]).astype(np.float64)
        if place not in forced:
            total += logits[token] - np.log(np.exp(logits).sum())
    return total / len(ids)


SEARCHES: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "greedy": (GreedySearch, [{}, {"no_repeat_ngram_size": 1}, {"repetition_penalty": 1.7}]),
    "sampling": (
        SamplingSearch,
        [{"seed": 1}, {"seed": 2, "temperature": 3.0}, {"seed": 3, "top_k": 4, "repetition_penalty": 2.0}],
    ),
    "beams": (
        lambda configuration: BeamSearch(configuration, 3),
        [{}, {"length_penalty": 2.0}, {"length_penalty": -1.0, "min_new_tokens": 4}, {"length_penalty": 0.0}],
    ),
}


def options_of(name: str, settings: list[dict[str, Any]]) -> list[GenerationOptions]:
    methods: dict[str, dict[str, Any]] = {"beams": {"num_beams": 3}, "sampling": {"do_sample": True}}
    return [GenerationOptions(max_new_tokens=STEPS, **methods.get(name, {}), **each) for each in settings]


@pytest.mark.parametrize("name", list(SEARCHES))
def test_it_is_the_log_softmax_without_temperature_penalties_and_rules(name: str) -> None:
    search, settings = SEARCHES[name]

    sequences = generated(search(PLAIN), options_of(name, settings))

    for sequence in sequences:
        assert sequence.mean_log_probability == pytest.approx(expected_mean(sequence.ids), abs=1e-5)


@pytest.mark.parametrize("name", list(SEARCHES))
def test_forced_tokens_count_as_certain(name: str) -> None:
    search, settings = SEARCHES[name]

    sequences = generated(search(FORCING), options_of(name, settings))

    assert any(len(sequence.ids) == STEPS for sequence in sequences)
    for sequence in sequences:
        assert sequence.ids[0] == FORCED
        assert sequence.mean_log_probability == pytest.approx(expected_mean(sequence.ids, (0, STEPS - 1)), abs=1e-5)


def test_beams_do_not_know_it_with_a_repetition_penalty() -> None:
    options = [GenerationOptions(num_beams=3, max_new_tokens=STEPS, repetition_penalty=each) for each in (1.5, 1.0)]

    penalized, plain = generated(BeamSearch(PLAIN, 3), options)

    assert penalized.mean_log_probability is None and plain.mean_log_probability is not None


@pytest.mark.parametrize("name", list(SEARCHES))
def test_an_output_that_is_cut_has_that_of_its_tokens_so_far(name: str) -> None:
    make, settings = SEARCHES[name]
    search: Search = make(PLAIN)
    search.join(options_of(name, settings[:1]), [False])
    assert search.cut(0).mean_log_probability is None

    search.advance(scores_of(np.stack([logits_after([START])] * search.num_beams), search.top))

    cut = search.cut(0)
    assert len(cut.ids) == 1
    assert cut.mean_log_probability == pytest.approx(expected_mean(cut.ids), abs=1e-6)


def test_no_tokens_and_sums_that_are_no_numbers_have_none() -> None:
    assert token_mean(0.0, []) is None
    assert token_mean(float("nan"), [4]) is None
    assert token_mean(float("-inf"), [4]) is None
    assert token_mean(1e-7, [4, 5]) == 0.0


def test_the_logsumexp_is_that_of_all_logits() -> None:
    logits = np.stack([logits_after([row]) for row in range(3)])

    assert log_sum_exp_of(logits) == pytest.approx(np.log(np.exp(logits).sum(axis=1)), abs=1e-5)
