"""What was measured of an artifact: quality, agreement, confidence, speed and memory."""

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any, Final, Self

from pydantic import ConfigDict, Field, model_validator

from slimseq.models_store.json_record import Digest, Record

# Decimals of a confidence. The quality that it is fitted to is not known better. The last digits of log-probabilities
# in fp32 may depend on the other rows of a batch.
CONFIDENCE_DIGITS: Final = 2
# A run on a machine without other work gets 0.95 to 1.0 of a core.
QUIET_CPU_SHARE: Final = 0.85

_WRONG_QUALITY = "the expected quality of the points falls, or is not between 0 and 1"


class MeanAgreement(Record):
    """How close a variant's outputs are to its reference's, on the same inputs in the same run."""

    exact: float = Field(ge=0, le=1, description="Share of outputs that are equal to the reference's.")
    similarity: float = Field(ge=0, le=1, description="Mean similarity to the reference's output, by `metric`.")
    interval: tuple[float, float] = Field(description="95 % bootstrap interval of the mean similarity.")
    metric: str = Field(description="`chrf` (divided by 100) or `rougeL`.")
    cpu_flags: list[str] = Field(
        default=[],
        description="CPU flags, if it was measured on another kind of CPU than the score. The same bytes may give "
        "other outputs there.",
    )


class MetricResult(Record):
    """A metric of a variant, on the samples of a data set."""

    metric: str
    value: float = Field(description="Between 0 and 100.")
    interval: tuple[float, float] = Field(description="95 % bootstrap interval.")
    signature: str
    samples: int = Field(ge=1)
    retention: float | None = Field(
        default=None, description="Value divided by the reference's value, on the same samples in the same run."
    )
    retention_interval: tuple[float, float] | None = Field(default=None, description="95 % paired bootstrap interval.")
    p_value: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Two-sided p-value of paired approximate randomization against the reference, of 30 samples and "
        "more.",
    )
    baseline: float | None = Field(default=None, description="The trivial baseline's value on the same samples.")


class QualityScore(MetricResult):
    """A metric of an evaluation, with everything needed to repeat it."""

    # Scores of earlier versions have more fields, such as the scores of parts of the samples.
    model_config = ConfigDict(extra="ignore")

    dataset: str
    split: str
    generation: dict[str, Any]
    runtime: str
    cpu_flags: list[str] = Field(default=[])
    reference: Digest | None = Field(default=None, description="Digest of the model that retention is relative to.")
    agreement: MeanAgreement | None = Field(
        default=None, description="Agreement with the reference, in the score of the primary metric only."
    )
    measured_at: str = Field(default="", description="ISO 8601 date and time, UTC.")


class ConfidenceCalibration(Record):
    """The map from an output's mean log-probability to its expected quality, fitted on dev data."""

    dataset: str = Field(description="Data sets, joined by ` + `.")
    split: str
    samples: int = Field(ge=1)
    metric: str = Field(description="Quality of one output: `chrf` (divided by 100).")
    signature: str
    generation: dict[str, Any]
    runtime: str
    cpu_flags: list[str] = Field(default=[])
    points: list[tuple[float, float]] = Field(
        min_length=1,
        description="Mean log-probability and expected quality. Both rise. Between points the map is linear, beyond "
        "them constant.",
    )
    spearman: float = Field(ge=-1, le=1, description="Rank correlation of log-probability and quality.")
    spearman_interval: tuple[float, float] = Field(description="95 % bootstrap interval.")
    pearson: float = Field(ge=-1, le=1, description="Linear correlation of log-probability and quality.")
    pearson_interval: tuple[float, float] = Field(description="95 % bootstrap interval.")
    calibration_error: float = Field(
        ge=0,
        le=1,
        description="Expected calibration error on half of the samples, of a map that was fitted on the other half.",
    )
    measured_at: str = Field(default="", description="ISO 8601 date and time, UTC.")

    @model_validator(mode="after")
    def _points_rise(self) -> Self:
        for (log_probability, quality), (next_log_probability, next_quality) in pairwise(self.points):
            if next_log_probability <= log_probability:
                raise ValueError("the log-probabilities of the points do not rise")
            if next_quality < quality:
                raise ValueError(_WRONG_QUALITY)
        _, first_quality = self.points[0]
        _, last_quality = self.points[-1]
        # The qualities rise, so that all of them are between the first and the last one.
        if first_quality < 0 or last_quality > 1:
            raise ValueError(_WRONG_QUALITY)
        return self

    @property
    def is_used(self) -> bool:
        """Whether outputs have a confidence. They have none if the rank correlation may be 0."""
        return self.spearman_interval[0] > 0

    def confidence(self, mean_log_probability: float) -> float | None:
        """Returns the confidence of an output: its expected quality, rounded to `CONFIDENCE_DIGITS`.

        Returns None if the map is not used.
        """
        if not self.is_used:
            return None
        # The index of the first point whose log-probability is larger than the mean. Points are compared as tuples: no
        # quality is above infinity.
        place = bisect_right(self.points, (mean_log_probability, math.inf))
        _, first_quality = self.points[0]
        _, last_quality = self.points[-1]
        if place == 0:
            quality = first_quality
        elif place == len(self.points):
            quality = last_quality
        else:
            left, quality_left = self.points[place - 1]
            right, quality_right = self.points[place]
            share = (mean_log_probability - left) / (right - left)
            quality = quality_left + share * (quality_right - quality_left)
        return round(quality, CONFIDENCE_DIGITS)


class Performance(Record):
    """A measurement of speed and memory.

    `slimseq.evaluation.speed_up` divides this speed by the base model's speed of the same run.
    """

    host: str = Field(description="The machine: its CPU, and the number of cores that the process may use.")
    cpu_flags: list[str] = Field(default=[])
    threads: int
    runtime: str
    batch: int
    num_beams: int = 1
    input_tokens: int
    output_tokens: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    tokens_per_second: float
    resident_bytes: int
    measured_at: str = Field(
        default="", description="ISO 8601 date and time, UTC. All measurements of one run have the same."
    )
    cpu_share: float | None = Field(
        default=None,
        description="CPU time of the process divided by the time of the run. Far below 1, other processes took the "
        "cores meanwhile.",
    )
    reference: Digest | None = Field(
        default=None, description="Digest of the base model that the same run measured on the same runtime."
    )
    reference_tokens_per_second: float | None = Field(
        default=None, description="Output tokens a second of that base model, in the same run on the same runtime."
    )

    @property
    def is_rough(self) -> bool:
        """Whether other processes used the cores so much that the figures are unreliable."""
        return self.cpu_share is not None and self.cpu_share < QUIET_CPU_SHARE


class MeasuredLayout(Record):
    """The throughput that was measured with a number of workers and threads."""

    host: str
    cpu_flags: list[str] = Field(default=[])
    cores: int = Field(ge=1, description="Number of cores of the machine.")
    runtime: str
    workers: int = Field(ge=1, description="Number of concurrent generations.")
    threads: int = Field(ge=1, description="Number of threads of each generation.")
    batch: int = Field(ge=1, description="Number of texts of each generation.")
    num_beams: int = 1
    tokens_per_second: float = Field(description="Throughput of all workers together.")
    measured_at: str = ""
