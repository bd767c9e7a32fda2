"""The service of the `/experiments` routes: starts, stops, lists and reports experiments."""

from collections import defaultdict
from datetime import UTC, datetime

from sqlalchemy import func, select
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
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import ExperimentRow, RatingRow, ResponseRow, VoteRow
from slimseq.app.jobs.experiment_report import ArmRecord, Vote, arm_reports, conclusion, pair_reports
from slimseq.app.jobs.responses import ResponseLog
from slimseq.app.jobs.traffic import ExperimentTraffic
from slimseq.app.serving.selection.chooser import Choice, Chooser
from slimseq.app.serving.traffic import new_id

# Percentiles of latency are those of so many latest responses of an arm.
LATEST_RESPONSES = 5000


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
        """Returns an experiment and what it has shown so far.

        Raises:
            UnknownExperiment: there is no experiment with that id.
            DatabaseUnavailable: the database failed.
        """
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
    records = {arm.variant: _record(session, identifier, arm.variant) for arm in arms}
    pairs = pair_reports(arms, records, _votes(session, identifier), row.margin)
    return Experiment.model_validate(
        {
            **_summary(row).model_dump(),
            "arms": arm_reports(arms, records),
            "pairs": pairs,
            "conclusion": conclusion(arms, pairs),
        }
    )


def _record(session: Session, experiment: str, arm: str) -> ArmRecord:
    of_arm = (ResponseRow.experiment == experiment, ResponseRow.arm == arm)
    traffic = (*of_arm, ResponseRow.comparison.is_(None))
    counted = select(func.count(), func.count(ResponseRow.problem)).where(*traffic)
    [requests, errors] = session.execute(counted).one()
    latest = (
        select(ResponseRow.total_ms)
        .where(*traffic, ResponseRow.total_ms.is_not(None))
        .order_by(ResponseRow.created_at.desc())
        .limit(LATEST_RESPONSES)
    )
    ratings = (
        select(RatingRow.rating)
        .join(ResponseRow, ResponseRow.id == RatingRow.response)
        .where(*of_arm)
        .order_by(RatingRow.created_at, RatingRow.response)
    )
    return ArmRecord(
        responses=requests - errors,
        errors=errors,
        total_ms=[value for value in session.scalars(latest) if value is not None],
        ratings=list(session.scalars(ratings)),
    )


def _votes(session: Session, experiment: str) -> list[Vote]:
    query = (
        select(VoteRow.comparison, VoteRow.preferred, ResponseRow.variant)
        .join(ResponseRow, ResponseRow.comparison == VoteRow.comparison)
        .where(ResponseRow.experiment == experiment)
        .order_by(VoteRow.created_at, VoteRow.comparison)
    )
    preferred: dict[str, str] = {}
    compared: dict[str, set[str]] = defaultdict(set)
    for comparison, winner, variant in session.execute(query):
        preferred[comparison] = winner
        compared[comparison].add(variant)
    return [Vote(winner, frozenset(compared[comparison])) for comparison, winner in preferred.items()]
