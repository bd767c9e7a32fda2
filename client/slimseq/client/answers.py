"""The answers of the service. Fields that a newer service adds are kept as attributes too."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

Interval = tuple[float, float]


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="allow", frozen=True)


class OutputWarning(Answer):
    """What may be wrong with an output.

    `kind` is `language`, `length`, `repetition`, `truncated`, `lost`, `number` or `untranslated`; newer services may
    have others.
    `detail` is a sentence in English.
    """

    kind: str
    detail: str


class Output(Answer):
    """One generated text.

    `finish_reason` is `eos` at the end-of-sequence token, `length` at `max_new_tokens`, or `stop` at a stop string.
    `warnings` is empty where the service found nothing wrong.
    `confidence` is the expected quality between 0 and 1, None where it is not known; it is not the probability
    that the output is right.
    """

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    truncated: bool
    warnings: list[OutputWarning] = []
    confidence: float | None = None


class Timings(Answer):
    """Durations in milliseconds, measured by the service."""

    queue_ms: float
    inference_ms: float
    total_ms: float


class ExperimentArm(Answer):
    """The arm of the experiment with an `id`. It has the name of its variant."""

    id: str
    arm: str


class Generation(Answer):
    """The outputs of one variant, in the order of the texts.

    `id` is what feedback names. `selection` says why this variant answered, where limits of the request selected it.
    `experiment` is None outside of experiments.
    """

    id: str
    task: str
    variant: str
    digest: str
    runtime: str
    outputs: list[Output]
    timings: Timings
    selection: str | None = None
    experiment: ExperimentArm | None = None

    @property
    def text(self) -> str:
        """The text of the only output.

        Raises:
            ValueError: there are several.
        """
        if len(self.outputs) != 1:
            raise ValueError(f"there are {len(self.outputs)} outputs; texts has them all")
        return self.outputs[0].text

    @property
    def texts(self) -> list[str]:
        """The texts of all outputs."""
        return [output.text for output in self.outputs]


class Piece(Answer):
    """Text to append to the output of the text at position `index`."""

    index: int
    text: str


class Problem(Answer):
    """An error as the service describes it."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class FailedVariant(Answer):
    """A variant of a comparison that failed, and why."""

    variant: str
    error: Problem


class Agreement(Answer):
    """How close the outputs of a variant are to those of the reference: shares between 0 and 1."""

    reference: str
    metric: str
    exact: float
    similarity: float


class DiffPart(Answer):
    """Words that both outputs have (`equal`), or only the reference (`delete`) or the variant (`insert`)."""

    op: Literal["equal", "delete", "insert"]
    text: str


class ComparedGeneration(Generation):
    """The outputs of one variant of a comparison. `agreement` and `diff` are None for the reference itself.

    `diff` has the parts of each output.
    """

    agreement: Agreement | None = None
    diff: list[list[DiffPart]] | None = None


class Comparison(Answer):
    """The results of the variants, in the order of the request. `id` is what a vote names."""

    id: str
    task: str
    results: list[ComparedGeneration | FailedVariant]


class Retention(Answer):
    """The share of the reference's score that a variant keeps, with a 95 % interval."""

    metric: str
    value: float
    interval: Interval | None = None
    dataset: str | None = None
    samples: int | None = None


class Calibration(Answer):
    """How well the confidence of a variant's outputs was fitted on dev data: the rank correlation, with an interval.

    Outputs have a confidence if `is_used`.
    """

    is_used: bool
    metric: str
    dataset: str
    samples: int
    spearman: float
    spearman_interval: Interval
    calibration_error: float


class Variant(Answer):
    """A variant with its status: `loaded`, `available` or `broken`."""

    task: str
    variant: str
    status: Literal["loaded", "available", "broken"]
    default: bool
    error: str | None = None
    runtime: str | None = None
    digest: str | None = None
    family: str | None = None
    languages: list[str] = []
    parameters: int | None = None
    bytes: int | None = None
    confidence: Calibration | None = None


class Quality(Answer):
    """The measured quality of a variant."""

    task: str
    variant: str
    digest: str
    retention: Retention | None


class Metric(Answer):
    """A metric of a variant, between 0 and 100, with a 95 % interval."""

    metric: str
    value: float
    interval: Interval
    samples: int
    retention: float | None = None
    retention_interval: Interval | None = None


class VariantScores(Answer):
    """The results of a variant in an evaluation."""

    variant: str
    metrics: list[Metric]

    def metric(self, name: str) -> Metric:
        """Returns one metric.

        Raises:
            KeyError: it was not measured.
        """
        return {each.metric: each for each in self.metrics}[name]


class Evaluation(Answer):
    """An evaluation of variants, with results once it succeeded. `progress` is between 0 and 1."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: float
    task: str
    variants: list[str]
    created_at: datetime
    dataset: str
    samples: int
    results: list[VariantScores] | None = None
    error: Problem | None = None

    @property
    def is_final(self) -> bool:
        """Whether the evaluation has ended."""
        return self.status in ("succeeded", "failed", "cancelled")

    def result(self, variant: str) -> VariantScores:
        """Returns the results of one variant.

        Raises:
            KeyError: the evaluation has not succeeded, or it did not evaluate the variant.
        """
        return {each.variant: each for each in self.results or []}[variant]
