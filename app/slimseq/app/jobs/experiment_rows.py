"""The queries of an experiment's report.

The database counts and sums, so that a report on a hundred thousand responses brings a few numbers to the interpreter.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, aliased

from slimseq.app.jobs.database.tables import RatingRow, ResponseRow, VoteRow
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence

# Percentiles of latency are those of so many latest responses of an arm.
LATEST_RESPONSES = 5000


def counts(session: Session, experiment: str) -> Mapping[str, tuple[int, int]]:
    """Returns the number of responses and of errors of each arm, without those of comparisons."""
    failed = func.count(ResponseRow.problem)
    query = (
        select(ResponseRow.arm, func.count() - failed, failed).where(*_traffic(experiment)).group_by(ResponseRow.arm)
    )
    return {arm: (responses, errors) for arm, responses, errors in session.execute(query) if arm is not None}


def latest_total_ms(session: Session, experiment: str, arm: str) -> Sequence[float]:
    """Returns the total times of an arm's latest responses in milliseconds."""
    query = (
        select(ResponseRow.total_ms)
        .where(*_traffic(experiment), ResponseRow.arm == arm, ResponseRow.total_ms.is_not(None))
        .order_by(ResponseRow.created_at.desc())
        .limit(LATEST_RESPONSES)
    )
    return [value for value in session.scalars(query) if value is not None]


def ratings(session: Session, experiment: str) -> Mapping[str, ConfidenceSequence]:
    """Returns the mean rating of each arm that has ratings.

    Only the first rating of each unit counts: a unit keeps its arm, so that its further ratings say more about the
    unit than about the arm, and intervals would be too narrow.

    The sums are those of `ConfidenceSequence.update`, in the order in which the ratings came.
    """
    order = (RatingRow.created_at, RatingRow.response)
    unit = func.coalesce(ResponseRow.unit, ResponseRow.id)
    each = (
        select(
            ResponseRow.arm,
            RatingRow.rating,
            RatingRow.created_at,
            RatingRow.response,
            func.row_number().over(partition_by=unit, order_by=order).label("of_unit"),
        )
        .join(ResponseRow, ResponseRow.id == RatingRow.response)
        .where(ResponseRow.experiment == experiment)
        .subquery()
    )
    arm, in_order = each.c.arm, (each.c.created_at, each.c.response)
    before = func.sum(each.c.rating).over(partition_by=arm, order_by=in_order, rows=(None, -1))
    first = (
        select(
            arm,
            each.c.rating,
            func.row_number().over(partition_by=arm, order_by=in_order).label("number"),
            func.coalesce(before, 0.0).label("before"),
        )
        .where(each.c.of_unit == 1)
        .subquery()
    )
    error = first.c.rating - (first.c.before + 0.5) / first.c.number
    query = select(first.c.arm, func.count(), func.sum(first.c.rating), func.sum(error * error)).group_by(first.c.arm)
    return {
        name: ConfidenceSequence(count=count, total=min(total, count), variation=min(variation, count))
        for name, count, total, variation in session.execute(query)
    }


def wins(session: Session, experiment: str) -> Mapping[tuple[str, str], int]:
    """Returns in how many comparisons of two arms the first was preferred to all others."""
    preferred, other = aliased(ResponseRow), aliased(ResponseRow)
    query = (
        select(preferred.variant, other.variant, func.count())
        .select_from(preferred)
        .join(VoteRow, VoteRow.comparison == preferred.comparison)
        .join(other, other.comparison == preferred.comparison)
        .where(
            preferred.experiment == experiment,
            preferred.variant == VoteRow.preferred,
            other.experiment == experiment,
            other.variant != preferred.variant,
        )
        .group_by(preferred.variant, other.variant)
    )
    return {(winner, loser): count for winner, loser, count in session.execute(query)}


def _traffic(experiment: str) -> tuple[ColumnElement[bool], ...]:
    return ResponseRow.experiment == experiment, ResponseRow.comparison.is_(None)
