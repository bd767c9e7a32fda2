"""P-values by randomization, against scoring every possible swap."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

from slimseq.evaluation.metrics import MetricStatistics, score
from slimseq.evaluation.significance import RANDOMIZATION_TRIALS, TOLERANCE, randomization_p_value
from slimseq.models_store.manifest import Task
from tests.evaluation.test_bootstrap import mean_of

REFERENCES = [f"Die {animal} schlafen {place}." for animal in ("Katzen", "Hunde", "Enten") for place in ("hier", "da")]
ORIGINAL = [text.replace("hier", "dort") for text in REFERENCES]
VARIANT = [text.replace("Enten", "Vögel").replace("Hunde", "Tiere") for text in ORIGINAL]


def bleu(hypotheses: list[str], references: list[str]) -> MetricStatistics:
    return score(Task.TRANSLATION, hypotheses, references)["bleu"]


def test_randomization_of_bleu_agrees_with_scoring_every_possible_swap() -> None:
    observed = abs(bleu(VARIANT, REFERENCES).value - bleu(ORIGINAL, REFERENCES).value)
    differences = []
    for is_swapped in product((False, True), repeat=len(REFERENCES)):
        first, second = list(VARIANT), list(ORIGINAL)
        for index, swap in enumerate(is_swapped):
            if swap:
                first[index], second[index] = second[index], first[index]
        differences.append(abs(bleu(first, REFERENCES).value - bleu(second, REFERENCES).value))
    # The p-value is the share of swaps whose difference is at least the observed one.
    exact = np.mean(np.array(differences) >= observed - TOLERANCE)

    estimated = randomization_p_value(bleu(VARIANT, REFERENCES), bleu(ORIGINAL, REFERENCES))

    assert estimated == pytest.approx(exact, abs=0.02)


def test_a_large_difference_has_the_smallest_p_value() -> None:
    original = np.random.default_rng(0).normal(40, 10, size=200)
    worse = original - np.random.default_rng(1).uniform(1, 5, size=200)

    p_value = randomization_p_value(mean_of(worse), mean_of(original))

    assert p_value == pytest.approx(1 / (RANDOMIZATION_TRIALS + 1))


def test_no_difference_has_a_p_value_of_one() -> None:
    values = np.random.default_rng(0).normal(40, 10, size=200)

    assert randomization_p_value(mean_of(values), mean_of(values)) == 1.0


def test_one_sample_proves_nothing() -> None:
    assert randomization_p_value(mean_of(np.array([10.0])), mean_of(np.array([90.0]))) == 1.0


def test_different_samples_have_no_pairs() -> None:
    with pytest.raises(ValueError, match="mean of 2 samples cannot be compared with mean of 3 samples"):
        randomization_p_value(mean_of(np.ones(2)), mean_of(np.ones(3)))


def test_the_memory_of_the_p_value_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    first = mean_of(random.normal(40, 10, size=2000))
    second = mean_of(random.normal(41, 10, size=2000))
    in_large_chunks = randomization_p_value(first, second)
    # 50 trials a chunk: each trial flips 2,000 samples.
    monkeypatch.setattr("slimseq.evaluation.significance.CHUNK_FLIPS", 100_000)

    tracemalloc.start()
    in_small_chunks = randomization_p_value(first, second)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert in_small_chunks == in_large_chunks
    # The flips of 50 trials take 0.8 MB as float64, the flips of a usual chunk of 500 trials 8 MB.
    assert peak_bytes < 4_000_000
