"""One quality evaluation: what is asked, where it stands, what it found. `evaluations` runs it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from slimseq.app.http.problems import Problem
from slimseq.app.jobs.evaluation_process import EvaluationProcess
from slimseq.evaluation.results import Evaluation
from slimseq.models_store.manifest import Task


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
    """One evaluation: what is asked, and how far it is.

    `pairs` are the posted ones as `EvaluationOrder` says, held until the process has them or the job has ended.
    `samples` is how many are evaluated at most and, once that has succeeded, how many were.
    """

    task: Task
    variants: Sequence[str]
    dataset: str
    samples: int
    pairs: bytes = b""
    references: Mapping[str, str] = field(default_factory=dict)
    identifier: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: Status = Status.QUEUED
    progress: float = 0.0
    results: Evaluation | None = None
    error: Problem | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    process: EvaluationProcess = field(default_factory=EvaluationProcess)

    def take_pairs(self) -> bytes:
        """Returns the pairs, which the job then holds no more."""
        pairs, self.pairs = self.pairs, b""
        return pairs

    def succeed(self, results: Evaluation) -> None:
        """Ends the job with what it found, unless it has ended."""
        if not self.status.is_final:
            self.status, self.progress = Status.SUCCEEDED, 1.0
            self.results, self.samples = results, results.samples

    def fail(self, error: Problem) -> None:
        """Ends the job with what went wrong, unless it has ended."""
        if not self.status.is_final:
            self.status, self.error = Status.FAILED, error
            self.take_pairs()

    def cancel(self) -> None:
        """Ends the job without results, unless it has ended; its process is killed and its pairs are freed."""
        if not self.status.is_final:
            self.status = Status.CANCELLED
            self.take_pairs()
            self.process.kill()
