"""The request and the responses of `/evaluations`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slimseq.answers import EvaluationSummary, OutputWarning, Problem
from slimseq.app.generate.schemas import ARTICLE, check_unicode
from slimseq.evaluation.results import BaselineResult, PairedDifference, VariantResult
from slimseq.evaluation.sequential.sequential_gate import GateAnswer
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import Performance

# For each text. The process of 20 pairs of the longest texts, which fill a body of 8 MiB, uses 320 MB (measured).
MAX_PAIR_WORDS = 20_000
MAX_PAIR_CHARACTERS = 200_000


def _kind(field: str, kind: str, *without: str) -> dict[str, Any]:
    """Returns the schema of a request that has a field of that type, and does not have others."""
    absent: dict[str, Any] = {each: {"type": "null"} for each in without}
    return {"required": [field], "properties": {field: {"type": kind}, **absent}}


# What `EvaluationRequest._fields_agree` takes, as far as a schema can say it, and examples.
SCHEMA_EXTRA: dict[str, Any] = {
    "oneOf": [
        _kind("dataset", "string", "pairs", "latency"),
        _kind("pairs", "array", "dataset", "latency", "samples"),
        _kind("latency", "object", "dataset", "pairs", "samples", "gate"),
    ],
    "examples": [
        {"task": "translation", "variants": ["original", "quantized"], "dataset": "sample", "samples": 8},
        {
            "task": "translation",
            "variants": ["original", "quantized"],
            "dataset": "sample",
            "samples": 16,
            "gate": {"retention": 0.5},
        },
        {"task": "translation", "variants": ["quantized"], "latency": {"batch": 4, "texts": 4, "repeats": 1}},
        {
            "task": "summarization",
            "variants": ["quantized"],
            "pairs": [{"document": ARTICLE, "summary": "A warehouse in Leeds burned for six hours."}],
        },
    ],
}
PAIR_KEYS = {Task.SUMMARIZATION: ("document", "summary"), Task.TRANSLATION: ("source", "target")}


@dataclass(frozen=True)
class Claim:
    """An evaluation that a process runs.

    Args:
        number: the order of submission.
        id: of the evaluation.
        owner: the process that runs it, as `rows.this_process` says.
        kind: `quality` or `latency`.
        task: of all variants.
        variants: in the order of the results.
        digests: the digest of each variant when it was posted.
        references: the reference of each variant, if it is one of the variants. Without one, there is no retention.
        runtimes: the runtime of each variant, once a process runs the evaluation.
        options: the gate question, or the settings of a latency measurement.
        dataset: name of the data set.
        samples: maximum number of samples; once they are stored, their number.
        are_samples_stored: whether all samples are. If not, the process loads the data set.
        request_id: of the request that posted it, for the log and the error.
    """

    number: int
    id: str
    owner: str
    kind: str
    task: str
    variants: Sequence[str]
    digests: Mapping[str, str | None]
    references: Mapping[str, str]
    runtimes: Mapping[str, str] | None
    options: Mapping[str, Any]
    dataset: str
    samples: int
    are_samples_stored: bool
    request_id: str


class GateQuestion(BaseModel):
    """Whether variants keep a share of their reference's quality."""

    model_config = ConfigDict(extra="forbid", strict=True)

    retention: float = Field(
        gt=0,
        le=2,
        description="The share. The samples come in random order, and the evaluation ends as soon as a sequential test "
        "has decided on every variant. It tests the mean of a score of each sample (chrF of a sentence, ROUGE-L of a "
        "summary), because corpus BLEU is not a mean.",
    )


class LatencySettings(BaseModel):
    """How to measure latency: in the process of evaluations, with one thread and at low priority.

    Variants take turns, so that their figures compare with each other. `GET /latency` has those of live requests.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    batch: int = Field(default=1, ge=1, le=64, description="Number of texts that are generated at once.")
    texts: int = Field(default=16, ge=1, le=64, description="Number of texts, from the bundled sample.")
    repeats: int = Field(default=3, ge=1, le=100, description="How often each batch is timed.")
    new_tokens: int | None = Field(
        default=None, ge=1, le=512, description="Exact length of all outputs. Default: each variant ends its outputs."
    )


class EvaluationRequest(BaseModel):
    """The variants to evaluate, and on what: a named data set, the client's own pairs, or the latency alone."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=SCHEMA_EXTRA)

    task: Annotated[Task, Field(strict=False)]
    variants: list[str] = Field(
        min_length=1,
        max_length=8,
        json_schema_extra={"uniqueItems": True},
        description="Names of the variants. Retention is relative to a variant's reference, if it is one of them.",
    )
    dataset: str | None = Field(default=None, description="Name of a data set, such as `sample`.")
    samples: int | None = Field(
        default=None, ge=1, description="Number of samples of the data set. Default: the maximum of the service."
    )
    # Validation stops at the first wrong pair: to describe thousands of errors would block the event loop too long.
    pairs: list[dict[str, str]] | None = Field(
        default=None,
        min_length=1,
        fail_fast=True,
        description="Pairs with `source` and `target` for translation, or `document` and `summary` for summarization.",
    )
    gate: GateQuestion | None = None
    latency: LatencySettings | None = Field(default=None, description="Measure latency instead of quality.")

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants names a variant twice")
        if sum(each is not None for each in (self.dataset, self.pairs, self.latency)) != 1:
            raise ValueError("give either dataset or pairs, or latency alone")
        if self.samples is not None and self.dataset is None:
            raise ValueError("samples goes with dataset, not with pairs or latency")
        if self.gate is not None and self.latency is not None:
            raise ValueError("gate goes with dataset or pairs, not with latency")
        for index, pair in enumerate(self.pairs or []):
            keys = PAIR_KEYS[self.task]
            if set(pair) != set(keys):
                raise ValueError(f"pairs[{index}] must have {keys[0]} and {keys[1]}, for {self.task.value}")
            for key in keys:
                if not pair[key].strip():
                    raise ValueError(f"pairs[{index}].{key} must not be empty")
                check_unicode(pair[key], f"pairs[{index}].{key} ")
                check_length(pair[key], f"pairs[{index}].{key}")
        return self


class EvaluationList(BaseModel):
    """Some evaluations, the newest first, without their results."""

    evaluations: list[EvaluationSummary]
    next: int | None = Field(description="`before` of the next page; None if this is the last one.")


class MeasuredLatency(Performance):
    """The measured latency of a batch, and the throughput, of a variant."""

    variant: str


class EvaluationJob(EvaluationSummary):
    """Status of an evaluation, and its results once it succeeded."""

    digests: Mapping[str, str | None] = Field(description="Digest of each variant when the evaluation was posted.")
    runtimes: Mapping[str, str] | None = Field(description="Runtime of each variant.")
    baseline: BaselineResult | None = Field(default=None, description="Scores of a trivial system on the same samples.")
    results: list[VariantResult] | None = None
    differences: list[PairedDifference] | None = Field(default=None, description="Each two of the variants.")
    gate: list[GateAnswer] | None = Field(default=None, description="The answer to the gate question, by variant.")
    evaluated: int | None = Field(default=None, description="Number of samples that the results are of.")
    stopped_early: bool | None = Field(
        default=None, description="Whether the gate question was answered before all samples were evaluated."
    )
    latencies: list[MeasuredLatency] | None = None
    error: Problem | None = None


class SampleOutput(BaseModel):
    """The output of a variant for a sample."""

    model_config = ConfigDict(from_attributes=True)

    text: str
    score: float = Field(description="Between 0 and 100: chrF of a translation, ROUGE-L of a summary.")
    finish_reason: str
    input_tokens: int
    output_tokens: int
    truncated: bool
    confidence: float | None = Field(description="As in an answer of `/translate` or `/summarize`. None if unknown.")
    warnings: list[OutputWarning] | None = Field(
        description="What may be wrong with the output, as in an answer with `protect` false. None if nothing is."
    )


class EvaluatedSample(BaseModel):
    """A sample, and the outputs so far."""

    number: int
    source: str
    target: str
    outputs: dict[str, SampleOutput] = Field(description="By variant.")


class EvaluatedSamples(BaseModel):
    """Some samples of an evaluation, in the order of the data set."""

    samples: list[EvaluatedSample]
    next: int | None = Field(description="`start` of the next page; None if this is the last one.")


def check_length(text: str, place: str) -> None:
    """Rejects a text that would take too much time and memory to score."""
    if len(text) > MAX_PAIR_CHARACTERS:
        raise ValueError(f"{place} has {len(text):,} characters; the limit of an evaluation is {MAX_PAIR_CHARACTERS:,}")
    # `maxsplit` leaves the rest unsplit, as the last piece.
    if len(text.split(maxsplit=MAX_PAIR_WORDS)) > MAX_PAIR_WORDS:
        raise ValueError(f"{place} has more than {MAX_PAIR_WORDS:,} words, the limit of an evaluation")
