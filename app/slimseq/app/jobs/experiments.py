"""The service of the `/experiments` routes: starts, stops, lists and reports experiments."""

import asyncio
import time
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from slimseq.app.errors import ExperimentRuns, UnknownExperiment
from slimseq.app.http.schemas.experiment import (
    Arm,
    Experiment,
    ExperimentList,
    ExperimentRequest,
    ExperimentSummary,
)
from slimseq.app.jobs import experiment_rows
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import ExperimentRow
from slimseq.app.jobs.experiment_report import ArmRecord, arm_reports, conclusion, pair_reports
from slimseq.app.jobs.responses import ResponseLog
from slimseq.app.jobs.traffic import ExperimentTraffic
from slimseq.app.serving.selection.chooser import Choice, Chooser
from slimseq.app.serving.traffic import new_id
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.models_store.errors import SlimseqError

# A report on more responses, ratings and votes than this takes a part of a second or more. Clients share one, and it is
# computed again after so many seconds.
LARGE, KEPT_SECONDS = 20_000, 10.0


class ExperimentService:
    """Experiments in the database. At most one runs for each task."""

    def __init__(
        self, database: Database, chooser: Chooser, traffic: ExperimentTraffic, responses: ResponseLog
    ) -> None:
        self._database = database
        self._chooser = chooser
        self._traffic = traffic
        self._responses = responses
        # When it was read, and the report, of each large experiment.
        self._shared: dict[str, tuple[float, asyncio.Task[Experiment]]] = {}

    async def start(self, request: ExperimentRequest) -> Experiment:
        """Starts an experiment.

        Raises:
            UnknownVariant: there is no variant of a name.
            InvalidArtifact: a variant's manifest cannot be read.
            ExperimentRuns: the task has a running experiment.
            DatabaseUnavailable: the database failed.
        """
        for arm in request.arms:
            self._chooser.choose(request.task, Choice(arm.variant))
        identifier = new_id()

        def add(session: Session) -> None:
            session.add(
                ExperimentRow(
                    id=identifier,
                    task=request.task.value,
                    name=request.name,
                    arms=[arm.model_dump() for arm in request.arms],
                    margin=request.margin,
                    created_at=datetime.now(UTC),
                    stopped_at=None,
                )
            )

        try:
            await self._database.run(add)
        except IntegrityError:
            running = await self._database.run(lambda session: _running_id(session, request), writes=False)
            raise ExperimentRuns(request.task.value, running) from None
        await self._traffic.refresh()
        return await self.get(identifier)

    async def stop(self, identifier: str) -> Experiment:
        """Stops an experiment. One that has stopped stays as it is.

        Raises:
            UnknownExperiment: there is no experiment with that id.
            DatabaseUnavailable: the database failed.
        """

        def end(session: Session) -> None:
            row = _row(session, identifier)
            row.stopped_at = row.stopped_at or datetime.now(UTC)

        await self._database.run(end)
        await self._traffic.refresh()
        self._shared.pop(identifier, None)
        return await self.get(identifier)

    async def list(self, limit: int, before: int | None = None) -> ExperimentList:
        """Returns a page of experiments, the newest first.

        Raises:
            DatabaseUnavailable: the database failed.
        """

        def read(session: Session) -> ExperimentList:
            query = select(ExperimentRow).order_by(ExperimentRow.number.desc()).limit(limit + 1)
            if before is not None:
                query = query.where(ExperimentRow.number < before)
            rows = list(session.scalars(query))
            return ExperimentList(
                experiments=[_summary(row) for row in rows[:limit]],
                next=rows[limit - 1].number if len(rows) > limit else None,
            )

        return await self._database.run(read, writes=False)

    async def get(self, identifier: str) -> Experiment:
        """Returns an experiment and what it has shown so far; of a large one, what it had shown some seconds ago.

        Raises:
            UnknownExperiment: there is no experiment with that id.
            DatabaseUnavailable: the database failed.
        """
        shared = self._shared.get(identifier)
        if shared is None:
            report = await self._read(identifier)
            if _size(report) > LARGE:
                self._shared[identifier] = time.monotonic(), asyncio.create_task(_returned(report))
            return report
        read_at, task = shared
        if time.monotonic() > read_at + KEPT_SECONDS:
            task = asyncio.create_task(self._read(identifier))
            self._shared[identifier] = time.monotonic(), task
        try:
            # The others wait for it if this client disconnects.
            return await asyncio.shield(task)
        except SlimseqError:
            self._shared.pop(identifier, None)
            raise

    async def _read(self, identifier: str) -> Experiment:
        await self._responses.flush()
        return await self._database.run(lambda session: _reported(session, identifier), writes=False)


async def _returned(report: Experiment) -> Experiment:
    return report


def _size(report: Experiment) -> int:
    """Returns the number of responses, ratings and votes of an experiment."""
    arms = sum(arm.responses + arm.errors + (arm.ratings.count if arm.ratings else 0) for arm in report.arms)
    return arms + sum(pair.votes.votes for pair in report.pairs if pair.votes)


def _running_id(session: Session, request: ExperimentRequest) -> str:
    query = select(ExperimentRow.id).where(ExperimentRow.task == request.task.value, ExperimentRow.stopped_at.is_(None))
    return session.scalar(query) or "that has just stopped"


def _row(session: Session, identifier: str) -> ExperimentRow:
    row = session.scalar(select(ExperimentRow).where(ExperimentRow.id == identifier))
    if row is None:
        raise UnknownExperiment(identifier)
    return row


def _summary(row: ExperimentRow) -> ExperimentSummary:
    return ExperimentSummary.model_validate(
        {
            "status": "running" if row.stopped_at is None else "stopped",
            **{name: getattr(row, name) for name in ExperimentSummary.model_fields if name != "status"},
        }
    )


def _reported(session: Session, identifier: str) -> Experiment:
    row = _row(session, identifier)
    arms = [Arm.model_validate(arm) for arm in row.arms]
    ratings = experiment_rows.ratings(session, identifier)
    counts = experiment_rows.counts(session, identifier)
    records = {
        arm.variant: ArmRecord(
            *counts.get(arm.variant, (0, 0)),
            total_ms=experiment_rows.latest_total_ms(session, identifier, arm.variant),
            ratings=ratings.get(arm.variant, ConfidenceSequence()),
        )
        for arm in arms
    }
    pairs = pair_reports(arms, records, experiment_rows.wins(session, identifier), row.margin)
    return Experiment.model_validate(
        {
            **_summary(row).model_dump(),
            "arms": arm_reports(arms, records),
            "pairs": pairs,
            "conclusion": conclusion(arms, pairs),
        }
    )
