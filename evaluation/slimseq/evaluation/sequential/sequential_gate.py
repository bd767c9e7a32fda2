"""Decides whether variants keep a share of their reference's quality, as soon as enough samples are scored.

Samples must come in random order. The decision is on the mean of a score of each sample (chrF of a sentence, ROUGE-L of
a summary): corpus BLEU is not a mean, and has no such test. A variant keeps the share g if the mean of
`score - g * score of the reference` is not negative. The always-valid interval of that mean is looked at after every
sample. Once it excludes 0, the verdict is right with 95 % probability, and further samples do not change it.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from slimseq.evaluation.agreement import SIMILARITY_METRIC, agreement
from slimseq.evaluation.bootstrap import Interval
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.models_store.manifest import Task
from slimseq.models_store.record import Record

MAX_SCORE = 100.0


class GateAnswer(Record):
    """The verdict on one variant."""

    variant: str
    reference: str
    retention: float = Field(description="Requested share of the reference's score.")
    verdict: Literal["passed", "failed", "undecided"] = Field(
        description="Whether the variant keeps the share, with 95 % probability. `undecided` if there are too few "
        "samples to say so."
    )
    metric: str = Field(description="Score of each sample: chrF of a sentence, or ROUGE-L of a summary.")
    samples: int = Field(description="Number of samples that decided it.")
    margin: float = Field(description="Mean of the score minus `retention` times that of the reference, in points.")
    interval: Interval = Field(
        description="95 % interval of `margin`, valid at any number of samples. The variant passed if it is above 0."
    )


def sample_score(task: Task, output: str, target: str) -> float:
    """Returns the score of one output, between 0 and 100: chrF for translation, ROUGE-L for summarization."""
    return MAX_SCORE * agreement(task, output, target).similarity


class SequentialGate:
    """The question for several variants. Each has a verdict of its own."""

    def __init__(self, task: Task, retention: float, references: Mapping[str, str]) -> None:
        self._metric = SIMILARITY_METRIC[task]
        self._retention = retention
        self._references = {name: reference for name, reference in references.items() if name != reference}
        self._scores: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self._margins = {
            name: ConfidenceSequence(low=-retention * MAX_SCORE, high=MAX_SCORE) for name in self._references
        }

    def add(self, system: str, sample: int, score: float) -> None:
        """Adds the score of a system for the sample of a number. Every number comes once."""
        self._scores[system][sample] = score

    @property
    def is_decided(self) -> bool:
        return all(self._decide(name) != "undecided" for name in self._references)

    def answers(self) -> list[GateAnswer]:
        return [
            GateAnswer(
                variant=name,
                reference=reference,
                retention=self._retention,
                verdict=self._decide(name),
                metric=self._metric,
                samples=self._margins[name].count,
                margin=self._margins[name].mean or 0.0,
                interval=self._margins[name].interval(),
            )
            for name, reference in self._references.items()
        ]

    def _decide(self, name: str) -> Literal["passed", "failed", "undecided"]:
        own, reference, margins = self._scores[name], self._scores[self._references[name]], self._margins[name]
        while (verdict := _verdict(margins.interval())) == "undecided":
            sample = margins.count
            if sample not in own or sample not in reference:
                break
            margins.update(own[sample] - self._retention * reference[sample])
        return verdict


def _verdict(interval: Interval) -> Literal["passed", "failed", "undecided"]:
    low, high = interval
    if low >= 0:
        return "passed"
    return "failed" if high < 0 else "undecided"
