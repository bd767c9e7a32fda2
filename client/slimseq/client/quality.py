"""Answers about quality, as programs use them: what `/quality` and `/evaluations` measure of variants.

Results can be found by the names of variants and metrics. The other answers are in `slimseq.answers`.
"""

from pydantic import BaseModel

from slimseq.answers import EvaluationSummary, Interval, Problem, Retention
from slimseq.models_store.manifest import Task


class VariantQuality(BaseModel):
    """The measured quality of a variant."""

    task: Task
    variant: str
    retention: Retention | None


class Metric(BaseModel):
    """A metric of a variant, between 0 and 100."""

    metric: str
    value: float
    interval: Interval
    samples: int
    retention: float | None = None
    retention_interval: Interval | None = None


class VariantScores(BaseModel):
    """The results of a variant in an evaluation."""

    variant: str
    metrics: list[Metric]

    def metric(self, name: str) -> Metric:
        """Returns one metric. Raises a `KeyError` if it was not measured."""
        by_name = {each.metric: each for each in self.metrics}
        return by_name[name]


class Evaluation(EvaluationSummary):
    """An evaluation of variants, with results once it succeeded. `progress` is between 0 and 1."""

    results: list[VariantScores] | None = None
    error: Problem | None = None

    def result(self, variant: str) -> VariantScores:
        """Returns the results of one variant. Raises a `KeyError` if the variant has none."""
        by_variant = {each.variant: each for each in self.results or []}
        return by_variant[variant]
