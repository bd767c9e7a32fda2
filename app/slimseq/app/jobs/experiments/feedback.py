"""The service of `POST /feedback`: a rating of a response, or a vote in a comparison, each counted once."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from slimseq.app.errors import AlreadyJudged, InvalidRequest, UnknownResponse
from slimseq.app.http.schemas.experiment import Feedback, FeedbackRequest
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import RatingRow, ResponseRow, VoteRow
from slimseq.app.jobs.experiments.experiment_rows import count_rating, count_vote, existing
from slimseq.app.jobs.experiments.responses import WRITE_SECONDS, ResponseLog
from slimseq.app.jobs.experiments.traffic import unit_digest
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.traffic import is_id
from slimseq.models_store.manifest import Task


class FeedbackService:
    """Records feedback. What it returned is in the database, what it refused is not."""

    def __init__(self, database: Database, responses: ResponseLog, metrics: ServiceMetrics) -> None:
        self._database = database
        self._responses = responses
        self._metrics = metrics

    async def post(self, request: FeedbackRequest, unit: str | None = None) -> Feedback:
        """Records a rating or a vote.

        Args:
            request: the rating or the vote.
            unit: that judges, by default that of the response or the comparison.

        Raises:
            UnknownResponse: there is no response or comparison with that id.
            InvalidRequest: the preferred variant was not compared.
            AlreadyJudged: the response was rated, or the comparison voted on, before.
            DatabaseUnavailable: the database failed. Nothing was recorded.
        """
        judged = request.response or request.comparison or ""
        # Another process on the same database may have answered a moment ago.
        attempts = 2 if is_id(judged) else 1
        while True:
            # The response may have been answered a moment ago.
            await self._responses.flush()
            try:
                feedback = await self._database.run(lambda session: _recorded(session, request, unit))
                break
            except UnknownResponse:
                attempts -= 1
                if not attempts:
                    raise
                await asyncio.sleep(2 * WRITE_SECONDS)
            except IntegrityError:
                raise AlreadyJudged(f"{_kind(request)} {judged!r}") from None
        if request.rating is not None and feedback.variant is not None:
            self._metrics.response_rated(feedback.task, feedback.variant, request.rating)
        elif feedback.variant is not None:
            self._metrics.variant_preferred(feedback.task, feedback.variant)
        return feedback


def _kind(request: FeedbackRequest) -> str:
    return "response" if request.response is not None else "comparison"


def _recorded(session: Session, request: FeedbackRequest, unit: str | None) -> Feedback:
    return _rated(session, request, unit) if request.response is not None else _voted(session, request, unit)


def _rated(session: Session, request: FeedbackRequest, unit: str | None) -> Feedback:
    row = session.get(ResponseRow, request.response)
    if row is None or row.problem is not None or request.rating is None or not _is_kept(session, row.experiment):
        raise _missing(session, RatingRow, request)
    judge = _judge(row.experiment, unit) or row.unit
    rating = RatingRow(
        response=row.id,
        experiment=row.experiment,
        arm=row.arm,
        unit=judge,
        rating=request.rating,
        created_at=datetime.now(UTC),
    )
    session.add(rating)
    # A second rating fails here, before it is counted.
    session.flush()
    if row.experiment is not None and row.arm is not None:
        count_rating(session, row.experiment, row.arm, judge, request.rating)
    return Feedback(task=Task(row.task), variant=row.variant, experiment=row.experiment)


def _voted(session: Session, request: FeedbackRequest, unit: str | None) -> Feedback:
    rows = list(session.scalars(select(ResponseRow).where(ResponseRow.comparison == request.comparison)))
    if not rows:
        raise _missing(session, VoteRow, request)
    preferred = next((row for row in rows if row.variant == request.preferred), None)
    if preferred is None and request.preferred is not None:
        compared = ", ".join(row.variant for row in rows)
        raise InvalidRequest(f"preferred: {request.preferred!r} was not compared; it was {compared}")
    in_experiment = [row for row in rows if row.experiment is not None]
    # A vote for a variant that is no arm says nothing about arms.
    counted = preferred or next(iter(in_experiment), rows[0])
    experiment = counted.experiment
    if not _is_kept(session, experiment):
        raise _missing(session, VoteRow, request)
    arms = [row.variant for row in in_experiment if row.experiment == experiment]
    judge = _judge(experiment, unit) or counted.unit
    vote = VoteRow(
        comparison=request.comparison,
        experiment=experiment,
        unit=judge,
        preferred=request.preferred,
        created_at=datetime.now(UTC),
    )
    session.add(vote)
    session.flush()
    if experiment is not None:
        count_vote(session, experiment, arms, judge, request.preferred)
    return Feedback(task=Task(counted.task), variant=request.preferred, experiment=experiment)


def _is_kept(session: Session, experiment: str | None) -> bool:
    """Whether the experiment is still there, if there was one."""
    return experiment is None or bool(existing(session, [experiment]))


def _judge(experiment: str | None, unit: str | None) -> str | None:
    return unit_digest(experiment, unit) if experiment and unit else None


def _missing(session: Session, table: type[RatingRow] | type[VoteRow], request: FeedbackRequest) -> Exception:
    """Returns the error of a response or comparison that is not there. It may have been judged, and deleted later."""
    judged = request.response if request.response is not None else request.comparison
    name = f"{_kind(request)} {judged!r}"
    return AlreadyJudged(name) if session.get(table, judged) is not None else UnknownResponse(name)
