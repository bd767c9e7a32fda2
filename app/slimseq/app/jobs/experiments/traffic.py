"""Splits the traffic of each task among the arms of its running experiment, and records the responses.

Every process reads the running experiments from the database now and then, so that all processes on one database split
their traffic alike. While the database is down, the last ones read go on.
"""

import hashlib
import secrets
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sqlalchemy import select
from sqlalchemy.orm import Session

from slimseq.app.http.schemas.experiment import Arm
from slimseq.app.http.schemas.generation import GenerationResponse
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.periodic import Periodic
from slimseq.app.jobs.database.tables import ExperimentRow
from slimseq.app.jobs.experiments.responses import ResponseLog
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.traffic import Assignment, new_id
from slimseq.models_store.manifest import Task

REFRESH_SECONDS = 2.0
_HASH_BYTES = 8


@dataclass(frozen=True)
class Split:
    """A running experiment: its id and its arms."""

    experiment: str
    arms: Sequence[Arm]

    def assign(self, unit: str | None) -> Assignment:
        """Returns the arm of a unit, which is the same each time, or a random arm if there is no unit."""
        digest = None
        if not unit:
            place = secrets.randbits(8 * _HASH_BYTES)
        else:
            digest = unit_digest(self.experiment, unit)
            place = int(digest[: 2 * _HASH_BYTES], 16)
        ends = list(accumulate(arm.weight for arm in self.arms))
        found = bisect(ends, place / 2 ** (8 * _HASH_BYTES) * ends[-1])
        return Assignment(self.experiment, self.arms[min(found, len(ends) - 1)].variant, digest)


def unit_digest(experiment: str, unit: str) -> str:
    """Returns what stands for a unit in the database, from which nobody reads the unit."""
    return hashlib.sha256(f"{experiment}\n{unit}".encode("utf-8", "surrogatepass")).hexdigest()


class ExperimentTraffic(Periodic):
    """The `Traffic` of a service with a database. Used from the event loop."""

    def __init__(self, database: Database, responses: ResponseLog, metrics: ServiceMetrics) -> None:
        super().__init__(REFRESH_SECONDS)
        self._database = database
        self._responses = responses
        self._metrics = metrics
        self._splits: Mapping[Task, Split] = {}

    async def repeat(self) -> None:
        """Reads, as `refresh` does."""
        await self.refresh()

    async def refresh(self) -> None:
        """Reads the running experiments.

        Raises:
            DatabaseUnavailable: the database failed. The last ones read stay.
        """
        self._splits = await self._database.run(_running, writes=False)

    def assign(self, task: Task, unit: str | None) -> Assignment | None:
        """Returns the arm of a request, as `Traffic.assign` says."""
        split = self._splits.get(task)
        return split.assign(unit) if split else None

    def arm_of(self, task: Task, variant: str, unit: str | None) -> Assignment | None:
        """Returns the arm of a variant, as `Traffic.arm_of` says."""
        split = self._splits.get(task)
        if split is None or all(arm.variant != variant for arm in split.arms):
            return None
        return Assignment(split.experiment, variant, unit_digest(split.experiment, unit) if unit else None)

    def record(self, response: GenerationResponse, assignment: Assignment | None, comparison: str | None) -> None:
        """Records a response, as `Traffic.record` says."""
        if assignment is not None and comparison is None:
            self._metrics.arm_ended(response.task, response.variant)
        self._responses.add(
            id=response.id,
            task=response.task.value,
            variant=response.variant,
            comparison=comparison,
            **_columns(assignment),
            **response.timings.model_dump(),
        )

    def record_failure(self, task: Task, assignment: Assignment, problem: str) -> None:
        """Counts a failed request, as `Traffic.record_failure` says."""
        self._metrics.arm_ended(task, assignment.arm, has_failed=True)
        self._responses.add(
            id=new_id(), task=task.value, variant=assignment.arm, problem=problem, **_columns(assignment)
        )


def _columns(assignment: Assignment | None) -> dict[str, str]:
    if assignment is None:
        return {}
    found = {"experiment": assignment.experiment, "arm": assignment.arm}
    return found | ({"unit": assignment.unit} if assignment.unit else {})


def _running(session: Session) -> dict[Task, Split]:
    rows = session.scalars(select(ExperimentRow).where(ExperimentRow.stopped_at.is_(None)))
    return {Task(row.task): Split(row.id, [Arm.model_validate(arm) for arm in row.arms]) for row in rows}
