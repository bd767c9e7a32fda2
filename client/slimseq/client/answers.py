"""The answers of the service. Types are those of the fields that programs use; all others are attributes too.

The service's own reference (`/docs`) describes every field. Intervals are 95 % intervals.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

Interval = tuple[float, float]


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Details(Answer):
    """A part of an answer whose fields have no types here."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class OutputWarning(Answer):
    """What may be wrong with an output.

    `kind` is `language`, `length`, `repetition`, `truncated`, `lost`, `number` or `untranslated`; newer services may
    have others. `detail` is a sentence in English.
    """

    kind: str
    detail: str


class Output(Answer):
    """One generated text.

    `finish_reason` is `eos` at the end-of-sequence token, `length` at `max_new_tokens`, or `stop` at a stop string.
    `confidence` is the expected quality of a translation between 0 and 1, None where it is not known; it is not the
    probability that the output is right.
    """

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    truncated: bool
    warnings: list[OutputWarning] = []
    confidence: float | None = None


class Timings(Answer):
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
        return [output.text for output in self.outputs]


class Piece(Answer):
    """Text to append to the output of the text at position `index`."""

    index: int
    text: str


class FailedVariant(Answer):
    """A variant of a comparison that failed, and why."""

    variant: str
    error: Details


class Agreement(Answer):
    """How close outputs are to the reference's, between 0 and 1. `exact` is the share of those that are equal."""

    metric: str
    exact: float
    similarity: float
    reference: str


class DiffPart(Answer):
    """Words that both outputs have (`equal`), or only the reference (`delete`) or the variant (`insert`)."""

    op: Literal["equal", "delete", "insert"]
    text: str


class ComparedGeneration(Generation):
    """The outputs of one variant of a comparison, and the parts of each in `diff`. The reference has neither."""

    agreement: Agreement | None = None
    diff: list[list[DiffPart]] | None = None


class Comparison(Answer):
    """The results of the variants, in the order of the request. `id` is what a vote names."""

    id: str
    results: list[ComparedGeneration | FailedVariant]


class Variant(Answer):
    task: str
    variant: str
    status: Literal["loaded", "available", "broken"]
    default: bool
    error: str | None = None
    runtime: str | None = None
    digest: str | None = None
    languages: list[str] = []
    parameters: int | None = None
    bytes: int | None = None


class Retention(Answer):
    """The share of the reference's score that a variant keeps."""

    metric: str
    value: float
    interval: Interval | None = None


class Quality(Answer):
    """The measured quality of a variant."""

    task: str
    variant: str
    retention: Retention | None


class Metric(Answer):
    """A metric of a variant, between 0 and 100."""

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
        """Returns one metric. Raises a `KeyError` if it was not measured."""
        return {each.metric: each for each in self.metrics}[name]


class Evaluation(Answer):
    """An evaluation of variants, with results once it succeeded. `progress` is between 0 and 1."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: float
    task: str
    variants: list[str]
    samples: int
    results: list[VariantScores] | None = None
    error: Details | None = None

    @property
    def is_final(self) -> bool:
        return self.status in ("succeeded", "failed", "cancelled")

    def result(self, variant: str) -> VariantScores:
        """Returns the results of one variant. Raises a `KeyError` if there are none."""
        return {each.variant: each for each in self.results or []}[variant]


class ArmReport(Answer):
    """What a variant has shown so far as an arm of an experiment. `share` is that of the traffic."""

    variant: str
    weight: float
    share: float
    responses: int
    errors: int
    ratings: Details | None


class PairReport(Answer):
    """Two arms beside each other, by mean ratings and by votes. Verdicts are about the first one."""

    first: str
    second: str
    ratings: Details | None
    votes: Details | None


class ExperimentConclusion(Answer):
    """The verdict on the experiment, in words as `text`. `arm` is the arm that is ahead of all others."""

    verdict: Literal["ahead", "equivalent", "undecided"]
    arm: str | None
    text: str


class ExperimentSummary(Answer):
    """An experiment without what it has shown."""

    id: str
    task: str
    name: str
    status: Literal["running", "stopped"]
    margin: float
    stopped_at: datetime | None


class Experiment(ExperimentSummary):
    """An experiment and what it has shown so far. It is valid at any time at which one looks."""

    arms: list[ArmReport]
    pairs: list[PairReport]
    conclusion: ExperimentConclusion

    def arm(self, variant: str) -> ArmReport:
        """Returns the arm of a variant. Raises a `KeyError` if there is none."""
        return {each.variant: each for each in self.arms}[variant]


class Feedback(Answer):
    """Feedback that was recorded: the variant that was rated or preferred (None: a tie), and its experiment."""

    variant: str | None
    experiment: str | None
