"""Experiments, responses and feedback in the database. A response has at most one rating, a comparison one vote."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from slimseq.app.errors import AlreadyJudged, InvalidRequest, UnknownExperiment, UnknownResponse
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import ExperimentRow, RatingRow, ResponseRow, VoteRow
from slimseq.models_store.manifest import Task


@dataclass(frozen=True)
class Arm:
    """A variant of an experiment, and its share of the traffic relative to the other weights."""

    variant: str
    weight: float


@dataclass(frozen=True)
class Experiment:
    """A split of the traffic of a task. It runs while `stopped_at` is None.

    `margin` is the largest difference that does not matter, named before the first response.
    """

    id: str
    task: Task
    name: str
    arms: tuple[Arm, ...]
    margin: float
    created_at: datetime
    stopped_at: datetime | None = None


class ExperimentStore:
    """Writes and reads experiments. Every method may raise `DatabaseUnavailable`, after which nothing was changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, task: Task, name: str, arms: Sequence[Arm], margin: float) -> Experiment:
        """Starts an experiment."""
        row = ExperimentRow(
            id=uuid.uuid4().hex,
            task=task.value,
            name=name,
            arms=[asdict(arm) for arm in arms],
            margin=margin,
            created_at=datetime.now(UTC),
        )

        def add(session: Session) -> Experiment:
            session.add(row)
            session.flush()
            return _experiment(row)

        return await self._database.run(add)

    async def list(self) -> list[Experiment]:
        """Returns all experiments, the newest first."""

        def read(session: Session) -> list[Experiment]:
            return [_experiment(row) for row in session.scalars(_newest_first)]

        return await self._database.run(read, writes=False)

    async def get(self, identifier: str) -> Experiment:
        """Returns an experiment.

        Raises:
            UnknownExperiment: there is no experiment with that id.
        """
        return await self._database.run(lambda session: _experiment(_find(session, identifier)), writes=False)

    async def stop(self, identifier: str) -> Experiment:
        """Stops an experiment, unless it was stopped before.

        Raises:
            UnknownExperiment: there is no experiment with that id.
        """

        def stop(session: Session) -> Experiment:
            row = _find(session, identifier)
            row.stopped_at = row.stopped_at or datetime.now(UTC)
            return _experiment(row)

        return await self._database.run(stop)

    async def record(self, responses: Sequence[ResponseRow]) -> None:
        """Stores responses, so that they can be judged. A response that is stored already does not change."""

        def add(session: Session) -> None:
            known = set(
                session.scalars(select(ResponseRow.id).where(ResponseRow.id.in_([row.id for row in responses])))
            )
            session.add_all([row for row in responses if row.id not in known])

        await self._database.run(add)

    async def rate(self, response: str, rating: float) -> None:
        """Stores the rating of a response, between 0 and 1.

        Raises:
            UnknownResponse: there is no response with that id.
            AlreadyJudged: it has a rating. That does not change.
        """

        def add(session: Session) -> None:
            if session.get(ResponseRow, response) is None:
                raise UnknownResponse(response)
            _add_once(session, RatingRow(response=response, rating=rating, created_at=datetime.now(UTC)), response)

        await self._database.run(add)

    async def vote(self, comparison: str, preferred: str) -> None:
        """Stores which variant of a comparison was preferred.

        Raises:
            UnknownResponse: there is no comparison with that id.
            InvalidRequest: the variant is not in the comparison.
            AlreadyJudged: it has a vote. That does not change.
        """

        def add(session: Session) -> None:
            variants = session.scalars(select(ResponseRow.variant).where(ResponseRow.comparison == comparison)).all()
            if not variants:
                raise UnknownResponse(comparison)
            if preferred not in variants:
                raise InvalidRequest(f"preferred: {preferred!r} is not one of {', '.join(sorted(variants))}")
            row = VoteRow(comparison=comparison, preferred=preferred, created_at=datetime.now(UTC))
            _add_once(session, row, comparison)

        await self._database.run(add)


_newest_first = select(ExperimentRow).order_by(ExperimentRow.number.desc())


def _find(session: Session, identifier: str) -> ExperimentRow:
    row = session.scalar(select(ExperimentRow).where(ExperimentRow.id == identifier))
    if row is None:
        raise UnknownExperiment(identifier)
    return row


def _add_once(session: Session, row: RatingRow | VoteRow, judged: str) -> None:
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise AlreadyJudged(judged) from error


def _experiment(row: ExperimentRow) -> Experiment:
    arms = tuple(Arm(**arm) for arm in row.arms)
    return Experiment(row.id, Task(row.task), row.name, arms, row.margin, row.created_at, row.stopped_at)
