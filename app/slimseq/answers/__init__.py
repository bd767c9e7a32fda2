"""The answers of the service: `slimseq.app` writes them, and `slimseq.client` reads them.

A client also keeps the fields that a newer service adds. Answers that the client does not use are in the `schemas`
modules of the service's features.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from slimseq.models_store.manifest import Task

# Lower and upper bound.
Interval = tuple[float, float]
# How the first of two arms stands to the second one.
Verdict = Literal["ahead", "behind", "equivalent", "undecided"]
# What happens to an experiment once an arm is ahead, or all arms are equivalent.
WhenDecided = Literal["promote", "stop", "tell"]

PROBLEM: dict[str, JsonValue] = {
    "type": "/problems/unknown-variant",
    "title": "Unknown variant",
    "status": 404,
    "detail": "translation has no variant 'tiny'; it has original, compact, distilled, pruned, quantized",
    "request_id": "8f38a6232c5e47afb4be2d451103dd3e",
}


class Problem(BaseModel):
    """An error as RFC 9457 defines it."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROBLEM]})

    type: str = Field(description="Stable URI reference of the problem's type.", examples=["/problems/unknown-variant"])
    title: str = Field(description="Short name of the problem's type.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What went wrong in this request, where, and what to do.")
    request_id: str = Field(description="Id of the request, as in the `X-Request-ID` header and in the log.")


class OutputWarning(BaseModel):
    """What may be wrong with an output."""

    kind: str = Field(
        description="`language`: the text is not in the model's language. `length`: the output is much shorter or "
        "longer than the text. `repetition`: the output repeats itself. `truncated`: the text or the output was cut "
        "at a limit. `unfinished`: the output ends in mid-sentence. `lost`: the translation lacks a number of the "
        "text, or something else that `protect` keeps, or the output misspells a name. `number`: the summary has a "
        "number that the text lacks. `date`: the summary has a month or weekday that the text does not name. "
        "`untranslated`: the output repeats the text, or a block of Markdown is as it was, since its translation "
        "would have changed the structure. Newer services may have others."
    )
    detail: str = Field(description="What was found, as a sentence in English. It may quote the text and the output.")


class ScoredText(BaseModel):
    """A generated text."""

    text: str
    score: float | None = Field(
        default=None,
        description="Mean log-probability of the tokens: nearer to 0 is more probable. Absent where not known.",
    )


class Output(ScoredText):
    """One generated text."""

    finish_reason: Literal["eos", "length", "stop"] = Field(
        description="Why generation ended: `eos` at the end-of-sequence token, `length` at `max_new_tokens`, `stop` at "
        "one of the `stop` strings."
    )
    input_tokens: int = Field(description="Tokens of the input that the model read.")
    output_tokens: int = Field(description="Generated tokens.")
    truncated: bool = Field(description="Whether the text was truncated to the model's context window.")
    warnings: list[OutputWarning] | None = Field(
        default=None, description="What may be wrong with the output. Absent where nothing was found."
    )
    repaired: list[str] | None = Field(
        default=None,
        description="Kinds of warnings that the output had before `repair` generated it once more. Absent where it did "
        "not, and where the further try was no better.",
    )
    confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How sure the model is, as the quality to expect: chrF / 100 of a translation. It follows from "
        "the mean log-probability of the output's tokens, by a map that was fitted on dev data. It is not the "
        "probability that the output is right. Summaries have none. Absent where it is not known, and where "
        "`finish_reason` is not `eos`.",
    )
    alternatives: list[ScoredText] | None = Field(
        default=None,
        description="The next best outputs, best first, where `num_return_sequences` asks for several. Of several "
        "sentences, the k-th has the k-th best translation of each. Equal ones are left out, so there may be fewer.",
    )


class Timings(BaseModel):
    """Durations in milliseconds."""

    queue_ms: float = Field(description="Time in the queue, until generation started.")
    inference_ms: float = Field(description="Time from the start of generation to its end.")
    total_ms: float = Field(description="Total time, including variant selection, loading and tokenization.")


class ExperimentArm(BaseModel):
    """The arm of an experiment that answered."""

    id: str = Field(description="Id of the experiment.")
    arm: str = Field(description="The arm, which has the name of its variant.")


class ChainedVariant(BaseModel):
    """One of the two variants of a translation that goes through another language."""

    variant: str
    digest: str
    runtime: str
    languages: list[str] = Field(description="Source and target.")
    timings: Timings


class Generation(BaseModel):
    """The outputs of one variant, in the order of the request's texts."""

    id: str = Field(description="Id of this response, for `POST /feedback`.")
    task: Task
    variant: str
    digest: str = Field(description="Digest of the artifact that generated.")
    runtime: str = Field(description="Runtime that generated.")
    outputs: list[Output]
    timings: Timings
    selection: str | None = Field(
        default=None, description="Why this variant answered. Absent unless limits of the request selected it."
    )
    experiment: ExperimentArm | None = Field(default=None, description="Absent outside of experiments.")
    through: list[ChainedVariant] | None = Field(
        default=None,
        description="The two variants that translated, since none translates directly. `id`, `variant`, `digest` and "
        "`runtime` are those of the last, tokens, timings and warnings those of both. Absent where one answered.",
    )

    @property
    def text(self) -> str:
        """The text of the only output. Raises a `ValueError` if there are several."""
        if len(self.outputs) != 1:
            raise ValueError(f"there are {len(self.outputs)} outputs; texts has them all")
        return self.outputs[0].text

    @property
    def texts(self) -> list[str]:
        return [output.text for output in self.outputs]


class Piece(BaseModel):
    """Text to append to the output of the text at position `index`."""

    index: int
    text: str


class FailedVariant(BaseModel):
    """A variant of a comparison that failed, and why."""

    variant: str
    error: Problem


class Similarity(BaseModel):
    """How close the outputs of a variant are to those of another one."""

    metric: str = Field(description="Metric of the similarity: `chrf` (divided by 100) or `rougeL`.")
    exact: float = Field(description="Share of outputs that are equal.")
    similarity: float = Field(description="Mean similarity of the outputs, between 0 and 1.")


class ComparedAgreement(Similarity):
    """How close the outputs of a variant are to those of another one."""

    reference: str = Field(description="The variant that it is compared with.")


class DiffPart(BaseModel):
    """Words that both outputs have (`equal`), or only the reference (`delete`) or this variant (`insert`)."""

    op: Literal["equal", "delete", "insert"]
    text: str


class ComparedGeneration(Generation):
    """The outputs of one variant, and how they differ from the reference's."""

    agreement: ComparedAgreement | None = Field(
        default=None, description="Absent for the reference itself, and for outputs of more than 10,000 characters."
    )
    diff: list[list[DiffPart]] | None = Field(
        default=None, description="For each output, the word diff from the reference's. Absent where `agreement` is."
    )


class Comparison(BaseModel):
    """The results of the variants, in the order of the request."""

    id: str = Field(description="Id of this comparison, for `POST /feedback`.")
    task: Task
    results: list[ComparedGeneration | FailedVariant]


class Variant(BaseModel):
    """A variant with its status and size."""

    task: Task
    variant: str
    status: Literal["loaded", "available", "broken", "failed"] = Field(
        description="`loaded`: in memory. `available`: loaded on first use. `broken`: cannot be loaded, see `error`. "
        "`failed`: in memory, but one of its workers has ended; the next request loads it anew."
    )
    error: str | None
    runtime: str | None = Field(description="Runtime of the variant. None if no runtime can load it.")
    default: bool = Field(
        description="Whether it is the default variant of its `languages`: it answers requests of this pair that name "
        "no variant. Each pair has one. `pairs` of the list tells which pair answers requests without languages."
    )
    default_reason: str | None = Field(description="Why it is the default variant: a setting, a promotion or neither.")
    digest: str | None
    languages: list[str] = Field(description="Codes. Of a translation: the source, then the target.")
    parameters: int | None
    bytes: int | None = Field(
        description="Size of the model files that the runtime reads, such as an ONNX export in fp32. `size` of the "
        "manifest has that of the weights."
    )


class Retention(BaseModel):
    """The share of the reference's score that a variant keeps: the least over all test sets."""

    metric: str = Field(
        description="The metric that the gates of the base model's variants name; without gates the task's primary one."
    )
    value: float
    interval: Interval | None = Field(description="95 % paired bootstrap interval.")
    dataset: str | None = Field(description="Data set with the least value. None for the reference itself.")
    split: str | None = None
    samples: int | None = None
    warning: str | None = Field(
        default=None, description="Says that the base model scores no more than the trivial baseline."
    )


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class EvaluationSummary(BaseModel):
    """Status of an evaluation."""

    id: str
    status: Status
    progress: float = Field(ge=0, le=1, description="Share of the texts that were generated.")
    task: Task
    variants: list[str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    dataset: str = Field(
        description="Name of the data set; `pairs` for posted pairs; the name of the file for an uploaded one."
    )
    samples: int = Field(description="Maximum number of samples; once they are loaded, their number.")
    languages: list[str] | None = Field(
        default=None,
        description="Languages of the data: source and target, or that of summaries. None for evaluations of before "
        "data had any.",
    )


class MeanRating(BaseModel):
    """The mean of ratings between 0 and 1. Of each unit, the first rating counts."""

    count: int
    mean: float
    interval: Interval = Field(description="Always-valid 95 % interval.")


class ArmReport(BaseModel):
    """What an arm has shown so far."""

    variant: str
    weight: float
    share: float = Field(description="Share of the traffic that the arm gets.")
    responses: int = Field(description="Responses, without those of comparisons.")
    errors: int = Field(description="Requests that the service failed to answer (status 500 and above).")
    ratings: MeanRating | None
    dropped: bool = Field(description="Whether it was dropped early, since another arm is ahead of it.")


class RatingDifference(BaseModel):
    """The mean rating of the first arm minus that of the second."""

    difference: float
    interval: Interval = Field(description="Always-valid interval.")
    verdict: Verdict


class Votes(BaseModel):
    """The votes of comparisons of two arms. Of each unit, the first vote on both counts."""

    votes: int = Field(description="All votes, with ties.")
    wins: float = Field(description="Votes for the first arm. A tie is half a vote.")
    ties: int = Field(description="Votes for neither.")
    win_rate: float
    interval: Interval = Field(description="Always-valid interval of the first arm's win rate.")
    verdict: Verdict


class PairReport(BaseModel):
    """Two arms beside each other. Verdicts are about the first one."""

    first: str
    second: str
    ratings: RatingDifference | None
    votes: Votes | None


class ExperimentConclusion(BaseModel):
    """What the experiment has shown so far. It is valid at any time at which one looks."""

    verdict: Literal["ahead", "equivalent", "undecided"]
    arm: str | None = Field(description="The arm that is ahead of all others, or the only one left.")
    text: str = Field(description="The verdict in words.")


class ExperimentState(BaseModel):
    """An experiment, without its arms."""

    id: str
    task: Task
    languages: list[str] | None = Field(
        default=None,
        description="The pair of languages whose requests it splits, or the language of summaries. None for "
        "experiments that stopped before experiments had one.",
    )
    name: str
    status: Literal["running", "stopped"]
    margin: float
    when_decided: WhenDecided
    drop_losing: bool
    created_at: datetime
    stopped_at: datetime | None
    promoted: str | None = Field(
        description="The arm that became the default variant of its pair of languages. The last one of a pair counts."
    )


class Experiment(ExperimentState):
    """An experiment and what it has shown so far."""

    arms: list[ArmReport]
    pairs: list[PairReport]
    conclusion: ExperimentConclusion

    def arm(self, variant: str) -> ArmReport:
        """Returns the arm of a variant. Raises a `KeyError` if there is none."""
        for arm in self.arms:
            if arm.variant == variant:
                return arm
        raise KeyError(variant)


class Feedback(BaseModel):
    """Feedback that was recorded."""

    task: Task
    variant: str | None = Field(description="The variant that was rated or preferred. Null for a tie.")
    experiment: str | None = Field(description="`id` of the experiment that it counts for.")
