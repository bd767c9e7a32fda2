"""The status of an evaluation. The answers with its results are in `slimseq.app.evaluations.schemas`."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Task


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
