"""The request and the responses of `/evaluations`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slimseq.app.http.problems import Problem
from slimseq.app.http.schemas.generation import check_unicode
from slimseq.evaluation.results import BaselineResult, VariantResult
from slimseq.models_store.manifest import Task

# For each text. The process of 20 pairs of the longest texts, which fill a body of 8 MiB, uses 320 MB (measured).
MAX_PAIR_WORDS = 20_000
MAX_PAIR_CHARACTERS = 200_000
PAIR_KEYS = {Task.SUMMARIZATION: ("document", "summary"), Task.TRANSLATION: ("source", "target")}


class Status(StrEnum):
    """Status of an evaluation."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the evaluation has ended."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class EvaluationRequest(BaseModel):
    """The variants to evaluate, and a named data set or the client's own pairs."""

    model_config = ConfigDict(extra="forbid", strict=True)

    task: Annotated[Task, Field(strict=False)]
    variants: list[str] = Field(
        min_length=1,
        max_length=8,
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

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants names a variant twice")
        if (self.dataset is None) == (self.pairs is None):
            raise ValueError("give either dataset or pairs")
        if self.pairs is not None and self.samples is not None:
            raise ValueError("samples goes with dataset, not with pairs")
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


class EvaluationSummary(BaseModel):
    """Status of an evaluation."""

    id: str
    status: Status
    progress: float = Field(ge=0, le=1, description="Share of the texts that were generated.")
    task: Task
    variants: list[str]
    created_at: datetime
    dataset: str = Field(description="Name of the data set; `pairs` for posted pairs.")
    samples: int = Field(description="Maximum number of samples; once the evaluation succeeded, their number.")


class EvaluationList(BaseModel):
    """The evaluations, the newest first, without their results."""

    evaluations: list[EvaluationSummary]


class EvaluationJob(EvaluationSummary):
    """Status of an evaluation, and its results once it succeeded."""

    baseline: BaselineResult | None = Field(default=None, description="Scores of a trivial system on the same samples.")
    results: list[VariantResult] | None = None
    error: Problem | None = None


def check_length(text: str, place: str) -> None:
    """Rejects a text that would take too much time and memory to score.

    Raises:
        ValueError: it has too many words or characters.
    """
    if len(text) > MAX_PAIR_CHARACTERS:
        raise ValueError(f"{place} has {len(text):,} characters; the limit of an evaluation is {MAX_PAIR_CHARACTERS:,}")
    # `maxsplit` leaves the rest unsplit, as the last piece.
    if len(text.split(maxsplit=MAX_PAIR_WORDS)) > MAX_PAIR_WORDS:
        raise ValueError(f"{place} has more than {MAX_PAIR_WORDS:,} words, the limit of an evaluation")
