"""P-values by randomization, against scoring every possible swap."""

import tracemalloc
from itertools import product

import numpy as np
import pytest

from slimseq.evaluation.metrics import MetricStatistics, score
from slimseq.evaluation.significance import RANDOMIZATION_TRIALS, randomization_p_value
from slimseq.models_store.manifest import Task
from tests.evaluation.test_bootstrap import mean_of

REFERENCES = [f"Die {animal} schlafen {place}." for animal in ("Katzen", "Hunde", "Enten") for place in ("hier", "da")]
ORIGINAL = [text.replace("hier", "dort") for text in REFERENCES]
VARIANT = [text.replace("Enten", "Vögel").replace("Hunde", "Tiere") for text in ORIGINAL]


def of_bleu(hypotheses: list[str], references: list[str]) -> MetricStatistics:
    return score(Task.TRANSLATION, hypotheses, references)["bleu"]


def test_randomization_of_bleu_agrees_with_scoring_every_possible_swap() -> None:
    observed = abs(of_bleu(VARIANT, REFERENCES).value - of_bleu(ORIGINAL, REFERENCES).value)
    differences = []
    for swaps in product((False, True), repeat=len(REFERENCES)):
        pairs = [(b, a) if swap else (a, b) for a, b, swap in zip(VARIANT, ORIGINAL, swaps, strict=True)]
        mixed = [of_bleu([pair[side] for pair in pairs], REFERENCES).value for side in (0, 1)]
        differences.append(abs(mixed[0] - mixed[1]))
    exact = np.mean(np.array(differences) >= observed - 1e-9)

    estimated = randomization_p_value(of_bleu(VARIANT, REFERENCES), of_bleu(ORIGINAL, REFERENCES))

    assert estimated == pytest.approx(exact, abs=0.02)


def test_a_large_difference_has_the_smallest_p_value_and_none_has_one() -> None:
    original = np.random.default_rng(0).normal(40, 10, size=200)
    worse = original - np.random.default_rng(1).uniform(1, 5, size=200)

    assert randomization_p_value(mean_of(worse), mean_of(original)) == pytest.approx(1 / (RANDOMIZATION_TRIALS + 1))
    assert randomization_p_value(mean_of(original), mean_of(original)) == 1.0


def test_one_sample_proves_nothing() -> None:
    assert randomization_p_value(mean_of(np.array([10.0])), mean_of(np.array([90.0]))) == 1.0


def test_different_samples_have_no_pairs() -> None:
    with pytest.raises(ValueError, match="mean of 2 samples cannot be compared with mean of 3 samples"):
        randomization_p_value(mean_of(np.ones(2)), mean_of(np.ones(3)))


def test_the_memory_of_the_p_value_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    first, second = mean_of(random.normal(40, 10, size=2000)), mean_of(random.normal(41, 10, size=2000))
    whole = randomization_p_value(first, second)
    monkeypatch.setattr("slimseq.evaluation.significance.CHUNK_FLIPS", 100_000)

    tracemalloc.start()
    in_small_chunks = randomization_p_value(first, second)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert in_small_chunks == whole
    assert peak_bytes < 4_000_000
