"""The service of the `/experiments` routes: starts, stops, lists and reports experiments."""

import contextlib
import secrets
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from slimseq.answers import Experiment
from slimseq.app.database.database import Database
from slimseq.app.database.queries import newest_first
from slimseq.app.errors import DatabaseUnavailable, ExperimentRuns, TooManyExperiments, UnknownExperiment
from slimseq.app.experiments.report import arm_reports, conclusion, pair_reports
from slimseq.app.experiments.rows import ExperimentRow, arm_records, pair_records
from slimseq.app.experiments.schemas import Arm, ExperimentList, ExperimentRequest, ExperimentSummary
from slimseq.app.experiments.traffic_sync import TrafficSync
from slimseq.app.serving.selection.chooser import Choice, Chooser

MAX_EXPERIMENTS = 1000
# An id of an experiment is part of its responses' ids.
ID_BYTES = 8


class ExperimentService:
    """Experiments in the database, at most one of which runs for each task.

    Without the database, all of it raises `DatabaseUnavailable`, and nothing is changed.
    """

    def __init__(self, database: Database, chooser: Chooser, sync: TrafficSync) -> None:
        self._database = database
        self._chooser = chooser
        self._sync = sync

    async def start(self, request: ExperimentRequest) -> Experiment:
        for arm in request.arms:
            self._chooser.choose(request.task, Choice(arm.variant))
        row = ExperimentRow(
            id=secrets.token_hex(ID_BYTES), created_at=datetime.now(UTC), **request.model_dump(mode="json")
        )

        def add(session: Session) -> None:
            if (session.scalar(select(func.count()).select_from(ExperimentRow)) or 0) >= MAX_EXPERIMENTS:
                raise TooManyExperiments(MAX_EXPERIMENTS)
            session.add(row)

        try:
            await self._database.run(add)
        except IntegrityError:
            running = await self._database.run(lambda session: _running_id(session, request), writes=False)
            raise ExperimentRuns(request.task.value, running) from None
        await self._sync.refresh()
        return await self.get(row.id)

    async def stop(self, identifier: str) -> Experiment:
        """Stops an experiment. One that has stopped stays as it is."""

        def end(session: Session) -> None:
            row = _row(session, identifier)
            row.stopped_at = row.stopped_at or datetime.now(UTC)

        await self._database.run(end)
        await self._sync.refresh()
        return await self.get(identifier)

    async def delete(self, identifier: str) -> None:
        """Deletes an experiment that has stopped, and all that it has counted."""

        def delete(session: Session) -> None:
            row = _row(session, identifier)
            if row.stopped_at is None:
                raise ExperimentRuns(row.task, identifier)
            session.delete(row)

        await self._database.run(delete)

    async def list(self, limit: int, before: int | None = None) -> ExperimentList:
        def read(session: Session) -> ExperimentList:
            rows, following = newest_first(session, ExperimentRow, before, limit)
            return ExperimentList(experiments=[_summary(row) for row in rows], next=following)

        return await self._database.run(read, writes=False)

    async def get(self, identifier: str) -> Experiment:
        # Another program may lock the database for writing only. Then the latest responses are not in the report.
        with contextlib.suppress(DatabaseUnavailable):
            await self._sync.flush()
        return await self._database.run(lambda session: _reported(session, identifier), writes=False)


def _running_id(session: Session, request: ExperimentRequest) -> str:
    query = select(ExperimentRow.id).where(ExperimentRow.task == request.task.value, ExperimentRow.stopped_at.is_(None))
    return session.scalar(query) or "that has just stopped"


def _row(session: Session, identifier: str) -> ExperimentRow:
    row = session.scalar(select(ExperimentRow).where(ExperimentRow.id == identifier))
    if row is None:
        raise UnknownExperiment(identifier)
    return row


def _summary(row: ExperimentRow) -> ExperimentSummary:
    return ExperimentSummary.model_validate(row, from_attributes=True)


def _reported(session: Session, identifier: str) -> Experiment:
    row = _row(session, identifier)
    arms = [Arm.model_validate(arm) for arm in row.arms]
    names = [arm.variant for arm in arms]
    records = arm_records(session, identifier, names)
    pairs = pair_reports(arms, records, pair_records(session, identifier, names), row.margin)
    reports = {"arms": arm_reports(arms, records), "pairs": pairs, "conclusion": conclusion(arms, pairs)}
    return Experiment.model_validate(_summary(row).model_dump() | reports)
