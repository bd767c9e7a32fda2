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
    """How close outputs are to those of the reference, between 0 and 1. `exact` is the share of those that are equal.

    In comparisons it has the name of the `reference`, in experiments the number of `outputs` and an always-valid
    `interval`.
    """

    metric: str
    exact: float
    similarity: float
    reference: str | None = None
    outputs: int | None = None
    interval: Interval | None = None


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


class Retention(Answer):
    """The share of the reference's score that a variant keeps, with a 95 % interval."""

    metric: str
    value: float
    interval: Interval | None = None
    dataset: str | None = None
    samples: int | None = None


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
        """Returns one metric. Raises a `KeyError` if it was not measured."""
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
        """Returns the results of one variant. Raises a `KeyError` if there are none."""
        return {each.variant: each for each in self.results or []}[variant]


class Arm(Answer):
    """An arm of an experiment: a variant, and its weight in the split of the traffic."""

    variant: str
    weight: float


class ExperimentSummary(Answer):
    """An experiment without what it has shown."""

    id: str
    task: str
    name: str
    status: Literal["running", "stopped"]
    arms: list[Arm]
    margin: float
    created_at: datetime
    stopped_at: datetime | None


class MeanRating(Answer):
    """The mean of ratings between 0 and 1, with an always-valid 95 % interval."""

    count: int
    mean: float
    interval: Interval


class ArmLatency(Answer):
    """Total times of an arm's latest responses, in milliseconds."""

    p50_ms: float
    p95_ms: float


class ArmReport(Arm):
    """What an arm has shown so far. `share` is that of the traffic."""

    share: float
    responses: int
    errors: int
    latency: ArmLatency | None
    ratings: MeanRating | None


class RatingDifference(Answer):
    """The mean rating of the first arm minus that of the second, with an always-valid interval."""

    difference: float
    interval: Interval
    verdict: str


class Votes(Answer):
    """The votes on comparisons of two arms, and the first one's win rate with an always-valid interval.

    A tie is half a win.
    """

    votes: int
    wins: float
    ties: int = 0
    win_rate: float
    interval: Interval
    verdict: str


class PairReport(Answer):
    """Two arms beside each other. Verdicts are about the first one."""

    first: str
    second: str
    ratings: RatingDifference | None
    votes: Votes | None


class ExperimentConclusion(Answer):
    """The verdict on the experiment, in words as `text`. `arm` is the arm that is ahead of all others."""

    verdict: Literal["ahead", "equivalent", "undecided"]
    arm: str | None
    text: str


class Experiment(ExperimentSummary):
    """An experiment and what it has shown so far. It is valid at any time at which one looks."""

    arms: list[ArmReport]  # type: ignore[assignment]
    pairs: list[PairReport]
    conclusion: ExperimentConclusion

    def arm(self, variant: str) -> ArmReport:
        """Returns the arm of a variant. Raises a `KeyError` if there is none."""
        return {each.variant: each for each in self.arms}[variant]


class Feedback(Answer):
    """Feedback that was recorded: the variant that was rated or preferred (None: a tie), and its experiment."""

    task: str
    variant: str | None
    experiment: str | None
