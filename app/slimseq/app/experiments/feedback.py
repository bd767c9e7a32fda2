"""The service of `POST /feedback`: a rating of a response, or a vote in a comparison, each counted once."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from slimseq.answers import Feedback
from slimseq.app.database.database import Database
from slimseq.app.errors import AlreadyJudged, InvalidRequest, UnknownResponse
from slimseq.app.experiments.rows import RatingRow, VoteRow, kept_arms
from slimseq.app.experiments.schemas import FeedbackRequest
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.traffic import Judgeable, Kind, Traffic, unit_digest


class FeedbackService:
    """Records feedback, for `days` after a response. What it returned is in the database, what it refused is not."""

    def __init__(self, database: Database, traffic: Traffic, metrics: ServiceMetrics, days: float) -> None:
        self._database = database
        self._traffic = traffic
        self._metrics = metrics
        self._kept = timedelta(days=days)

    async def post(self, request: FeedbackRequest, unit: str | None = None) -> Feedback:
        """Records a rating or a vote of a unit, by default that of the response or the comparison."""
        kind: Kind = "comparison" if request.response is None else "response"
        identifier = request.response or request.comparison or ""
        name = f"{kind} {identifier!r}"
        judged = self._traffic.ids.read(kind, identifier, self._kept.total_seconds())
        if judged is None or not judged.answered:
            raise UnknownResponse(name)
        row = _rating(judged, request.rating) if request.rating is not None else _vote(judged, request.preferred)
        row.unit = unit_digest(judged.experiment, unit) if judged.experiment and unit else judged.unit

        def add(session: Session) -> None:
            if row.experiment:
                arms = kept_arms(session, [row.experiment]).get(row.experiment)
                if arms is None:
                    raise UnknownResponse(name)
                if isinstance(row, VoteRow) and row.preferred is not None and row.preferred not in arms:
                    # It says nothing about arms.
                    row.experiment = row.unit = None
            session.add(row)
            # Their ids are too old to be judged again.
            for table in (RatingRow, VoteRow):
                is_old = table.experiment.is_(None) & (table.created_at < row.created_at - self._kept)
                session.execute(delete(table).where(is_old))

        try:
            await self._database.run(add)
        except IntegrityError:
            raise AlreadyJudged(name) from None
        variant: str | None
        if isinstance(row, RatingRow):
            variant = row.variant
            self._metrics.response_rated(judged.task, row.variant, row.rating)
        elif variant := row.preferred:
            self._metrics.variant_preferred(judged.task, variant)
        return Feedback(task=judged.task, variant=variant, experiment=row.experiment)


def _rating(judged: Judgeable, rating: float) -> RatingRow:
    [(variant, digest)] = judged.answered
    return RatingRow(
        response=judged.nonce,
        variant=variant,
        digest=digest,
        experiment=judged.experiment,
        rating=rating,
        created_at=datetime.now(UTC),
    )


def _vote(judged: Judgeable, preferred: str | None) -> VoteRow:
    variants = [variant for variant, _ in judged.answered]
    if preferred is not None and preferred not in variants:
        raise InvalidRequest(f"preferred: {preferred!r} was not compared; it was {', '.join(variants)}")
    return VoteRow(
        comparison=judged.nonce,
        compared=[list(each) for each in judged.answered],
        preferred=preferred,
        experiment=judged.experiment,
        created_at=datetime.now(UTC),
    )
