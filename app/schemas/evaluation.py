"""The body and the answers of `/evaluations`."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.problems import Problem
from app.schemas.generation import check_unicode
from app.serving.evaluation_job import Status
from evaluation.results import BaselineResult, VariantResult
from models_store.manifest import Task

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
    pairs: list[dict[str, str]] | None = Field(
        default=None,
        min_length=1,
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
        return self


class EvaluationJob(BaseModel):
    """Where an evaluation stands, and what it found once it succeeded."""

    id: str
    status: Status
    progress: float = Field(ge=0, le=1, description="Part of the texts that were generated.")
    task: Task
    variants: list[str]
    created_at: datetime
    dataset: str | None = Field(default=None, description="What was evaluated on; `pairs` for the client's own.")
    samples: int | None = None
    baseline: BaselineResult | None = Field(default=None, description="What a trivial system reaches on the same.")
    results: list[VariantResult] | None = None
    error: Problem | None = None
