import random

import pytest

from slimseq.evaluation.sequential.sequential_gate import GateAnswer, SequentialGate, sample_score
from slimseq.models_store.manifest import Task


def answers_of(retention: float, kept: float, samples: int, noise: float = 5.0) -> tuple[GateAnswer, bool]:
    """Asks about a variant that keeps a share of scores around 60; returns the answer, and whether it came early."""
    chance, gate = random.Random(7), SequentialGate(Task.TRANSLATION, retention, {"o": "o", "q": "o"})
    for sample in range(samples):
        reference = chance.uniform(40, 80)
        gate.add("o", sample, reference)
        gate.add("q", sample, min(max(kept * reference + chance.gauss(0, noise), 0), 100))
        if gate.is_decided:
            break
    [answer] = gate.answers()
    return answer, answer.samples < samples


def test_a_clear_difference_is_decided_early_on_either_side() -> None:
    passed, is_passed_early = answers_of(retention=0.5, kept=1.0, samples=2000)
    failed, is_failed_early = answers_of(retention=0.99, kept=0.6, samples=2000)

    assert (passed.verdict, failed.verdict) == ("passed", "failed")
    assert is_passed_early and is_failed_early
    assert passed.interval[0] >= 0 and failed.interval[1] < 0
    assert (passed.variant, passed.reference, passed.retention, passed.metric) == ("q", "o", 0.5, "chrf")


def test_a_difference_that_samples_cannot_show_stays_undecided() -> None:
    answer, _ = answers_of(retention=1.0, kept=1.0, samples=200)

    assert answer.verdict == "undecided" and answer.interval[0] < 0 < answer.interval[1]


def test_at_most_one_in_twenty_that_keep_exactly_the_share_is_ever_said_to_fail_or_pass() -> None:
    verdicts = []
    for seed in range(200):
        chance, gate = random.Random(seed), SequentialGate(Task.SUMMARIZATION, 0.9, {"q": "o"})
        for sample in range(100):
            reference = chance.uniform(0, 100)
            gate.add("o", sample, reference)
            gate.add("q", sample, min(max(0.9 * reference + chance.choice((-8.0, 8.0)), 0.0), 100.0))
        assert gate.is_decided == (gate.answers()[0].verdict != "undecided")
        verdicts.append(gate.answers()[0].verdict)

    assert verdicts.count("undecided") >= 190


def test_a_verdict_does_not_change_with_later_samples() -> None:
    gate = SequentialGate(Task.TRANSLATION, 0.5, {"q": "o"})
    for sample in range(2000):
        gate.add("o", sample, 60.0)
        gate.add("q", sample, 60.0 if sample < 1000 else 0.0)

    [answer] = gate.answers()
    assert answer.verdict == "passed" and answer.samples < 1000


def test_samples_of_one_system_alone_decide_nothing() -> None:
    gate = SequentialGate(Task.TRANSLATION, 0.5, {"q": "o"})
    for sample in range(1000):
        gate.add("q", sample, 100.0)

    assert not gate.is_decided and gate.answers()[0].samples == 0


def test_a_sample_is_scored_by_chrf_or_rouge_l() -> None:
    assert sample_score(Task.TRANSLATION, "Guten Morgen.", "Guten Morgen.") == 100
    assert sample_score(Task.SUMMARIZATION, "the cat sat", "the cat lay") == pytest.approx(200 / 3)
    assert sample_score(Task.TRANSLATION, "", "Guten Morgen.") == 0
