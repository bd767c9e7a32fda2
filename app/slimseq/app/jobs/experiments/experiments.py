"""The service of the `/experiments` routes: starts, stops, lists and reports experiments."""

import contextlib
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from slimseq.app.errors import DatabaseUnavailable, ExperimentRuns, TooManyExperiments, UnknownExperiment
from slimseq.app.http.schemas.experiment import (
    Arm,
    Experiment,
    ExperimentList,
    ExperimentRequest,
    ExperimentSummary,
)
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.pages import newest_first
from slimseq.app.jobs.database.tables import CountedUnitRow, ExperimentRow, RatingRow, ResponseRow, VoteRow
from slimseq.app.jobs.experiments import experiment_rows
from slimseq.app.jobs.experiments.experiment_report import arm_reports, conclusion, pair_reports
from slimseq.app.jobs.experiments.old_responses import delete_all
from slimseq.app.jobs.experiments.responses import ResponseLog
from slimseq.app.jobs.experiments.traffic import ExperimentTraffic
from slimseq.app.serving.selection.chooser import Choice, Chooser
from slimseq.app.serving.traffic import new_id
from slimseq.models_store.manifest import Task

MAX_EXPERIMENTS = 1000


class ExperimentService:
    """Experiments in the database. At most one runs for each task."""

    def __init__(
        self, database: Database, chooser: Chooser, traffic: ExperimentTraffic, responses: ResponseLog
    ) -> None:
        self._database = database
        self._chooser = chooser
        self._traffic = traffic
        self._responses = responses

    async def start(self, request: ExperimentRequest) -> Experiment:
        """Starts an experiment.

        Raises:
            UnknownVariant: there is no variant of a name.
            InvalidArtifact: a variant's manifest cannot be read.
            ExperimentRuns: the task has a running experiment.
            TooManyExperiments: there are as many experiments as are kept.
            DatabaseUnavailable: the database failed.
        """
        for arm in request.arms:
            self._chooser.choose(request.task, Choice(arm.variant))
        identifier = new_id()

        def add(session: Session) -> None:
            if (session.scalar(select(func.count()).select_from(ExperimentRow)) or 0) >= MAX_EXPERIMENTS:
                raise TooManyExperiments(MAX_EXPERIMENTS)
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
            session.flush()
            experiment_rows.add_arms(session, identifier, request.arms)

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
        return await self.get(identifier)

    async def delete(self, identifier: str) -> None:
        """Deletes an experiment that has stopped, and all that it has counted. Of a large one it takes seconds.

        Raises:
            UnknownExperiment: there is no experiment with that id.
            ExperimentRuns: it runs.
            DatabaseUnavailable: the database failed. The experiment is there, perhaps without its responses.
        """

        def check(session: Session) -> None:
            row = _row(session, identifier)
            if row.stopped_at is None:
                raise ExperimentRuns(row.task, identifier)

        def delete(session: Session) -> None:
            session.delete(_row(session, identifier))

        await self._database.run(check, writes=False)
        for table in (ResponseRow, RatingRow, VoteRow, CountedUnitRow):
            await delete_all(self._database, table, table.experiment == identifier)
        await self._database.run(delete)

    async def list(self, limit: int, before: int | None = None) -> ExperimentList:
        """Returns a page of experiments, the newest first.

        Raises:
            DatabaseUnavailable: the database failed.
        """

        def read(session: Session) -> ExperimentList:
            rows, following = newest_first(session, ExperimentRow, before, limit)
            return ExperimentList(experiments=[_summary(row) for row in rows], next=following)

        return await self._database.run(read, writes=False)

    async def get(self, identifier: str) -> Experiment:
        """Returns an experiment and what it has shown so far.

        Raises:
            UnknownExperiment: there is no experiment with that id.
            DatabaseUnavailable: the database failed.
        """
        # Another program may lock the database for writing only. Then the latest responses are not in the report.
        with contextlib.suppress(DatabaseUnavailable):
            await self._responses.flush()
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
    return ExperimentSummary.model_validate(
        {
            "status": "running" if row.stopped_at is None else "stopped",
            **{name: getattr(row, name) for name in ExperimentSummary.model_fields if name != "status"},
        }
    )


def _reported(session: Session, identifier: str) -> Experiment:
    row = _row(session, identifier)
    arms = [Arm.model_validate(arm) for arm in row.arms]
    records = experiment_rows.arm_records(session, identifier)
    pairs = pair_reports(arms, records, experiment_rows.pair_records(session, identifier), row.margin)
    return Experiment.model_validate(
        {
            **_summary(row).model_dump(),
            "arms": arm_reports(Task(row.task), arms, records),
            "pairs": pairs,
            "conclusion": conclusion(arms, pairs),
        }
    )
