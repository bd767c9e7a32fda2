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
from slimseq.app.jobs.responses import WRITE_SECONDS, ResponseLog
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.traffic import is_id
from slimseq.models_store.manifest import Task


class FeedbackService:
    """Records feedback. What it returned is in the database, what it refused is not."""

    def __init__(self, database: Database, responses: ResponseLog, metrics: ServiceMetrics) -> None:
        self._database = database
        self._responses = responses
        self._metrics = metrics

    async def post(self, request: FeedbackRequest) -> Feedback:
        """Records a rating or a vote.

        Raises:
            UnknownResponse: there is no response or comparison with that id.
            InvalidRequest: the preferred variant was not compared.
            AlreadyJudged: the response was rated, or the comparison voted on, before.
            DatabaseUnavailable: the database failed. Nothing was recorded.
        """
        # The response may have been answered a moment ago.
        await self._responses.flush()
        try:
            try:
                feedback = await self._database.run(lambda session: _recorded(session, request))
            except UnknownResponse:
                if not is_id(request.response or request.comparison or ""):
                    raise
                # Another process on the same database may have answered a moment ago.
                await asyncio.sleep(2 * WRITE_SECONDS)
                feedback = await self._database.run(lambda session: _recorded(session, request))
        except IntegrityError:
            judged = f"response {request.response!r}" if request.response else f"comparison {request.comparison!r}"
            raise AlreadyJudged(judged) from None
        if request.rating is not None:
            self._metrics.response_rated(feedback.task, feedback.variant, request.rating)
        else:
            self._metrics.variant_preferred(feedback.task, feedback.variant)
        return feedback


def _recorded(session: Session, request: FeedbackRequest) -> Feedback:
    return _rated(session, request) if request.response is not None else _voted(session, request)


def _rated(session: Session, request: FeedbackRequest) -> Feedback:
    row = session.get(ResponseRow, request.response)
    if row is None or row.problem is not None:
        raise UnknownResponse(f"response {request.response!r}")
    session.add(RatingRow(response=row.id, rating=request.rating, created_at=datetime.now(UTC)))
    return Feedback(task=Task(row.task), variant=row.variant, experiment=row.experiment)


def _voted(session: Session, request: FeedbackRequest) -> Feedback:
    rows = list(session.scalars(select(ResponseRow).where(ResponseRow.comparison == request.comparison)))
    if not rows:
        raise UnknownResponse(f"comparison {request.comparison!r}")
    preferred = next((row for row in rows if row.variant == request.preferred), None)
    if preferred is None:
        compared = ", ".join(row.variant for row in rows)
        raise InvalidRequest(f"preferred: {request.preferred!r} was not compared; it was {compared}")
    vote = VoteRow(comparison=request.comparison, preferred=preferred.variant, created_at=datetime.now(UTC))
    session.add(vote)
    return Feedback(task=Task(preferred.task), variant=preferred.variant, experiment=preferred.experiment)
