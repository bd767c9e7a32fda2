"""The choice among measured variants: only those that truly keep the bar are chosen."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from slimseq.evaluation.choice import (
    Candidate,
    CandidateResult,
    CannotChoose,
    Choice,
    Status,
    choose,
    halves,
    lower_bound,
    statistics_of,
)
from slimseq.evaluation.metrics import MetricStatistics, score
from slimseq.models_store.manifest import Task

PAIRS = 400
SEEDS = 200
Scores = NDArray[np.float64]


def original_scores(random: np.random.Generator, pairs: int) -> Scores:
    """Scores as wide as those of sentences: from 0 to 100, most of them around 60."""
    return np.clip(random.normal(60, 20, pairs), 0, 100)


def variant_scores(random: np.random.Generator, original: Scores, kept: float, changed: float, spread: float) -> Scores:
    """Scores that keep a share of the original's on average. A share of the outputs differs, with some spread."""
    is_changed = random.random(len(original)) < changed
    return original * kept + np.where(is_changed, random.normal(0, spread, len(original)), 0)


def means(values: Sequence[float] | Scores) -> MetricStatistics:
    return statistics_of("mean", list(values))


def candidate(name: str, values: Scores, seconds: float = 1.0, size: int = 1) -> Candidate:
    return Candidate(name, means(values), seconds, size)


def result(choice: Choice, name: str) -> CandidateResult:
    return next(each for each in choice.results if each.name == name)


@pytest.mark.parametrize("count", [1, 5])
def test_variants_below_the_bar_are_chosen_in_at_most_one_of_twenty_runs(count: int) -> None:
    chosen = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        original = original_scores(random, PAIRS)
        variants = [variant_scores(random, original, 0.965, changed=0.5, spread=15) for _ in range(count)]
        candidates = [candidate(f"v{number}", each, 1 / (number + 1)) for number, each in enumerate(variants)]

        chosen += choose(means(original), candidates, 0.97, "fastest", seed).chosen is not None

    assert chosen <= SEEDS * 0.05


def test_the_best_of_a_half_alone_would_be_chosen_too_often() -> None:
    """This is what the confirming half is for: of five such variants, the luckiest looks good enough."""
    lucky = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        original = original_scores(random, PAIRS)
        variants = [variant_scores(random, original, 0.965, changed=0.5, spread=15) for _ in range(5)]
        lucky += max(each.mean() for each in variants) / original.mean() >= 0.97

    assert lucky > SEEDS * 0.4


def test_an_int8_variant_that_keeps_nearly_everything_is_nearly_always_confirmed() -> None:
    chosen = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        original = original_scores(random, 500)
        int8 = variant_scores(random, original, 0.998, changed=0.2, spread=12)

        chosen += choose(means(original), [candidate("int8", int8)], 0.98, "fastest", seed).chosen == "int8"

    assert chosen >= SEEDS * 0.95


def test_the_aim_decides_among_those_that_are_confirmed() -> None:
    random = np.random.default_rng(0)
    original = original_scores(random, PAIRS)
    candidates = [
        candidate("whole", original, seconds=1.0, size=400),
        candidate("fast", original * 0.995, seconds=0.3, size=300),
        candidate("small", original * 0.99, seconds=0.5, size=100),
        candidate("tiny", original * 0.9, seconds=0.1, size=10),
    ]

    fastest = choose(means(original), candidates, 0.98, "fastest", 0)
    smallest = choose(means(original), candidates, 0.98, "smallest", 0)

    assert (fastest.chosen, smallest.chosen) == ("fast", "small")
    assert [each.name for each in fastest.results] == ["whole", "fast", "small", "tiny"]
    assert result(fastest, "small").status is Status.UNTESTED
    assert result(fastest, "small").reason == "a candidate with more retention is as good or faster"
    assert result(fastest, "tiny").status is Status.BELOW
    assert result(fastest, "tiny").reason == "90.0% on the choosing half is below the bar of 98.0%"
    assert fastest.reason.startswith("fast is the fastest that is confirmed: it keeps 99.5% on the confirming half")


def test_the_first_failure_ends_the_tests() -> None:
    random = np.random.default_rng(1)
    original = original_scores(random, PAIRS)
    _, second_half = halves(PAIRS, 0)
    # It is the best on the choosing half, and below the bar on the confirming half.
    lucky = original.copy()
    lucky[second_half] *= 0.9
    candidates = [candidate("lucky", lucky, 0.5), candidate("good", original * 0.99, 0.1)]

    choice = choose(means(original), candidates, 0.98, "fastest", 0)

    assert choice.chosen is None
    assert result(choice, "lucky").status is Status.FAILED
    assert result(choice, "good").status is Status.UNTESTED
    assert result(choice, "good").reason == "the tests ended with lucky, which failed"
    assert "no candidate is confirmed. The best is lucky: it keeps 90.0% on the confirming half" in choice.reason


def test_a_candidate_that_lacks_pairs_is_confirmed_with_as_many_as_the_result_names() -> None:
    random = np.random.default_rng(6)
    original = original_scores(random, 200)
    noisy = variant_scores(random, original, 0.99, changed=0.5, spread=12)

    failed = choose(means(original), [candidate("noisy", noisy)], 0.98, "fastest", 0)

    needed = result(failed, "noisy").pairs_needed
    assert failed.chosen is None
    assert needed is not None and needed > 200
    assert f"About {needed:,} dev pairs would probably confirm it" in failed.reason
    kept = result(failed, "noisy").confirming
    confirmed = 0
    for seed in range(50):
        random = np.random.default_rng(seed)
        more = original_scores(random, needed)
        again = variant_scores(random, more, kept, changed=0.5, spread=12)
        confirmed += choose(means(more), [candidate("noisy", again)], 0.98, "fastest", seed).chosen is not None
    assert confirmed >= 30


def test_corpus_metrics_are_those_of_the_half() -> None:
    targets = [f"O gato {number} dorme na casa azul." for number in range(60)]
    outputs = [text if number % 3 else text.replace("casa", "rua") for number, text in enumerate(targets)]
    original, variant = (score(Task.TRANSLATION, texts, targets)["chrf"] for texts in (targets, outputs))

    choice = choose(original, [Candidate("rua", variant, 1.0, 1)], 0.5, "fastest", 7)

    _, half = halves(60, 7)
    expected = score(Task.TRANSLATION, [outputs[index] for index in half], [targets[index] for index in half])
    found = result(choice, "rua")
    assert found.confirming == pytest.approx(expected["chrf"].value / 100)
    assert found.interval[0] < found.lower_bound < found.confirming < found.interval[1]


def test_halves_have_every_sample_once_and_depend_on_the_seed() -> None:
    first, second = halves(101, 5)

    assert (len(first), len(second)) == (50, 51)
    assert sorted([*first, *second]) == list(range(101))
    assert list(halves(101, 5)[0]) == list(first)
    assert list(halves(101, 6)[0]) != list(first)


def test_what_loses_the_same_share_everywhere_has_that_share_as_its_lower_bound() -> None:
    original = original_scores(np.random.default_rng(0), 50)

    assert lower_bound(means(original * 0.9), means(original)) == pytest.approx(0.9)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(CannotChoose, match=r"59 dev pairs are too few: one half .* a half needs at least 30"):
        choose(means(np.ones(59)), [candidate("v", np.ones(59))], 0.98, "fastest", 0)


@pytest.mark.parametrize("level", [0.0, -3.0])
def test_an_original_without_a_score_is_refused(level: float) -> None:
    scores = np.full(100, level)

    with pytest.raises(CannotChoose, match=f"the original's mean is {level:g}: a share of it says nothing"):
        choose(means(scores), [candidate("v", scores)], 0.98, "fastest", 0)


def test_candidates_of_other_samples_or_without_a_bar_are_refused() -> None:
    original = means(np.ones(100))

    with pytest.raises(CannotChoose, match="no candidate"):
        choose(original, [], 0.98, "fastest", 0)
    with pytest.raises(ValueError, match="99 samples cannot be compared with"):
        choose(original, [candidate("v", np.ones(99))], 0.98, "fastest", 0)
    with pytest.raises(ValueError, match="the bar is 0"):
        choose(original, [candidate("v", np.ones(100))], 0, "fastest", 0)
