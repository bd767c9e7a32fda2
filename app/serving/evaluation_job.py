"""One quality evaluation: what is asked, where it stands, what it found. Running it is `app.serving.evaluations`'s."""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from app.problems import Problem
from evaluation.examples import DatasetSample
from evaluation.results import Evaluation
from models_store.manifest import Task


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


@dataclass
class Job:
    """One evaluation: what is asked, and how far it is."""

    task: Task
    variants: Sequence[str]
    sample: Callable[[], DatasetSample]
    references: Mapping[str, str] = field(default_factory=dict)
    identifier: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: Status = Status.QUEUED
    progress: float = 0.0
    results: Evaluation | None = None
    error: Problem | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    wants_to_stop: threading.Event = field(default_factory=threading.Event)

    def finish(self, status: Status) -> None:
        """Ends the job, unless it has ended."""
        if not self.status.is_final:
            self.status = status
