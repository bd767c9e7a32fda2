"""The results of an evaluation: metrics with intervals and retention, speed, and the baseline's scores.

The classes serialize to the JSON of the command line and the service, without texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, Field

from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.models_store.json_record import Record
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import MeanAgreement, MetricResult, QualityScore


class VariantResult(Record):
    """The results of a variant. `hypotheses` are its outputs in the order of the data set; they are not in the JSON."""

    # Results in a database may have fields of earlier versions.
    model_config = ConfigDict(extra="ignore")

    variant: str
    reference: str | None = Field(default=None, description="The variant that retention is relative to.")
    metrics: tuple[MetricResult, ...]
    agreement: MeanAgreement | None = Field(
        default=None, description="Agreement with the outputs of the reference. None without a reference."
    )
    seconds: float = Field(description="Time of generation, without scoring.")
    output_tokens: int
    tokens_per_second: float
    truncated: int = Field(description="Number of sources that were truncated.")
    hypotheses: tuple[str, ...] = Field(default=(), exclude=True)

    def metric(self, name: str) -> MetricResult:
        return {result.metric: result for result in self.metrics}[name]


class BaselineResult(Record):
    """Scores of the task's trivial baseline on the same samples, by metric."""

    name: str
    values: dict[str, float]


class EvaluationResult(Record):
    """The results of variants on the same samples in the same run."""

    task: Task
    dataset: str
    split: str
    samples: int
    baseline: BaselineResult
    variants: tuple[VariantResult, ...]

    def variant(self, name: str) -> VariantResult:
        return {result.variant: result for result in self.variants}[name]

    def quality_scores(
        self,
        variant: str,
        runtime: str,
        cpu_flags: Sequence[str],
        measured_at: str,
        generation: Mapping[str, Any],
        reference: str | None = None,
    ) -> list[QualityScore]:
        """Turns the results of one variant into scores for its manifest.

        `reference` is the digest of the model that the variant's retention is relative to.
        """
        found, primary = self.variant(variant), PRIMARY_METRIC[self.task]
        return [
            QualityScore(
                dataset=self.dataset,
                split=self.split,
                generation=dict(generation),
                runtime=runtime,
                cpu_flags=list(cpu_flags),
                measured_at=measured_at,
                reference=reference,
                agreement=found.agreement if result.metric == primary else None,
                **result.model_dump(),
            )
            for result in found.metrics
        ]
