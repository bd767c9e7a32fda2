"""The body and the answers of `/evaluations`."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slimseq.app.http.problems import Problem
from slimseq.app.http.schemas.generation import check_unicode
from slimseq.app.jobs.evaluation_job import Status
from slimseq.evaluation.results import BaselineResult, VariantResult
from slimseq.models_store.manifest import Task

# Of one text. The process of 20 pairs of the longest texts, which fill a body of 8 MiB, takes 320 MB (measured).
MOST_PAIR_WORDS = 20_000
MOST_PAIR_CHARACTERS = 200_000
PAIR_KEYS = {Task.SUMMARIZATION: ("document", "summary"), Task.TRANSLATION: ("source", "target")}


class EvaluationRequest(BaseModel):
    """Which variants to evaluate, on a named data set or on the client's own pairs."""

    model_config = ConfigDict(extra="forbid", strict=True)

    task: Annotated[Task, Field(strict=False)]
    variants: list[str] = Field(
        min_length=1,
        max_length=8,
        description="Retention is relative to each variant's reference where that is among them.",
    )
    dataset: str | None = Field(default=None, description="A data set by name, such as `sample`.")
    samples: int | None = Field(
        default=None, ge=1, description="How many of the data set; all that are allowed if absent."
    )
    # The first wrong pair is enough: wording thousands of errors takes longer than the event loop may be held.
    pairs: list[dict[str, str]] | None = Field(
        default=None,
        min_length=1,
        fail_fast=True,
        description="`source` and `target` for translation, `document` and `summary` for summarization.",
    )

    @model_validator(mode="after")
    def _says_what_and_on_what(self) -> Self:
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
    """Where an evaluation stands."""

    id: str
    status: Status
    progress: float = Field(ge=0, le=1, description="Part of the texts that were generated.")
    task: Task
    variants: list[str]
    created_at: datetime
    dataset: str = Field(description="What is evaluated on; `pairs` for the client's own.")
    samples: int = Field(description="How many are evaluated at most; once it succeeded, how many were.")


class EvaluationList(BaseModel):
    """The evaluations that are remembered, the newest first, without their results."""

    evaluations: list[EvaluationSummary]


class EvaluationJob(EvaluationSummary):
    """Where an evaluation stands, and what it found once it succeeded."""

    baseline: BaselineResult | None = Field(default=None, description="What a trivial system reaches on the same.")
    results: list[VariantResult] | None = None
    error: Problem | None = None


def check_length(text: str, place: str) -> None:
    """Refuses a text that would take too long, and too much memory, to score.

    Raises:
        ValueError: it has too many words or characters.
    """
    if len(text) > MOST_PAIR_CHARACTERS:
        raise ValueError(f"{place} has {len(text):,} characters; an evaluation takes {MOST_PAIR_CHARACTERS:,} a text")
    # The pieces after the most are not split: the last one is the rest.
    if len(text.split(maxsplit=MOST_PAIR_WORDS)) > MOST_PAIR_WORDS:
        raise ValueError(f"{place} has more than {MOST_PAIR_WORDS:,} words, the most that an evaluation takes a text")
