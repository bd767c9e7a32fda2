"""The request and the responses of `/evaluations`, and the `Claim` that the process of an evaluation gets as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slimseq.answers import EvaluationSummary, OutputWarning, Problem
from slimseq.app.generate.schemas import ARTICLE, Language, check_languages, check_unicode
from slimseq.evaluation.results import BaselineResult, VariantResult
from slimseq.models_store.manifest import Task

# Limits of each text of a pair. With 20 pairs of the longest texts, which fill a body of 8 MiB, the process of an
# evaluation uses 320 MB (measured).
MAX_PAIR_WORDS = 20_000
MAX_PAIR_CHARACTERS = 200_000
# A lower limit for summaries: the time of ROUGE-Lsum grows with the product of the words of a summary and of an output.
MAX_SUMMARY_WORDS = 2_000

# The rules of `EvaluationRequest._fields_agree` as far as JSON Schema can express them, and examples.
SCHEMA_EXTRA: dict[str, Any] = {
    "oneOf": [
        {"required": ["dataset"], "properties": {"dataset": {"type": "string"}, "pairs": {"type": "null"}}},
        {
            "required": ["pairs"],
            "properties": {"pairs": {"type": "array"}, "dataset": {"type": "null"}, "samples": {"type": "null"}},
        },
    ],
    "examples": [
        {"task": "translation", "variants": ["original", "quantized"], "dataset": "sample", "samples": 8},
        {
            "task": "summarization",
            "variants": ["quantized"],
            "pairs": [{"document": ARTICLE, "summary": "A warehouse in Leeds burned for six hours."}],
        },
    ],
}
# The keys of a pair: the source text, and the text that outputs are compared with.
PAIR_KEYS = {Task.SUMMARIZATION: ("document", "summary"), Task.TRANSLATION: ("source", "target")}


@dataclass(frozen=True)
class Claim:
    """An evaluation that a process has claimed: the columns of its `EvaluationRow` that the process needs."""

    number: int
    id: str
    owner: str
    task: str
    variants: Sequence[str]
    digests: Mapping[str, str | None]
    references: Mapping[str, str]
    runtimes: Mapping[str, str] | None
    dataset: str
    samples: int
    are_samples_stored: bool
    request_id: str
    languages: Sequence[str] | None = None


class EvaluationRequest(BaseModel):
    """The variants to evaluate, and on what: a named data set or the client's own pairs."""

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
    languages: list[Language] | None = Field(
        default=None,
        max_length=2,
        description="Languages of the pairs: the source and the target of translations, or the one language of "
        "summaries. All variants must serve these languages. Default: the languages that the variants have in common. "
        "A named data set has its own languages.",
        examples=[["en", "de"]],
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants names a variant twice")
        names_dataset = self.dataset is not None
        has_pairs = self.pairs is not None
        if names_dataset == has_pairs:
            # Both are given, or neither is.
            raise ValueError("give either dataset or pairs")
        if self.samples is not None and not names_dataset:
            raise ValueError("samples goes with dataset, not with pairs")
        check_languages(self.task, self.languages)
        for index, pair in enumerate(self.pairs or []):
            _check_pair(pair, self.task, f"pairs[{index}]")
        return self


class EvaluationList(BaseModel):
    """Some evaluations, the newest first, without their results."""

    evaluations: list[EvaluationSummary]
    next: int | None = Field(description="`before` of the next page; None if this is the last one.")


class EvaluationJob(EvaluationSummary):
    """Status of an evaluation, and its results once it succeeded."""

    digests: Mapping[str, str | None] = Field(description="Digest of each variant when the evaluation was posted.")
    runtimes: Mapping[str, str] | None = Field(description="Runtime of each variant.")
    baseline: BaselineResult | None = Field(default=None, description="Scores of a trivial system on the same samples.")
    results: list[VariantResult] | None = None
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


def _check_pair(pair: Mapping[str, str], task: Task, place: str) -> None:
    """Raises a `ValueError` for a pair with other keys than `PAIR_KEYS`, or with a text that cannot be evaluated."""
    source_key, target_key = PAIR_KEYS[task]
    if set(pair) != {source_key, target_key}:
        raise ValueError(f"{place} must have {source_key} and {target_key}, for {task.value}")
    for key in (source_key, target_key):
        text = pair[key]
        place_of_text = f"{place}.{key}"
        if not text.strip():
            raise ValueError(f"{place_of_text} must not be empty")
        check_unicode(text, f"{place_of_text} ")
        max_words = MAX_SUMMARY_WORDS if key == "summary" else MAX_PAIR_WORDS
        check_length(text, place_of_text, max_words)


def check_length(text: str, place: str, max_words: int) -> None:
    """Raises a `ValueError` for a text that is too long. `place` names the text in the error, as `pairs[0].source`."""
    if len(text) > MAX_PAIR_CHARACTERS:
        raise ValueError(f"{place} has {len(text):,} characters; the limit of an evaluation is {MAX_PAIR_CHARACTERS:,}")
    # With `maxsplit`, a very long text is not split to its end: the rest is the last piece.
    if len(text.split(maxsplit=max_words)) > max_words:
        raise ValueError(f"{place} has more than {max_words:,} words, the limit of an evaluation")
