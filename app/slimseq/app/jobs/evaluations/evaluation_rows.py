"""The transactions on evaluations: submit, claim, record, end, list and delete.

A process claims an evaluation for some seconds at a time. It writes only while it is the owner, so that an evaluation
that another process took over, or that was cancelled, is not changed by the one that ran it before.
"""

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, cast

from sqlalchemy import CursorResult, and_, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from slimseq.app.errors import EvaluationEnded, EvaluationRuns, Overloaded, UnknownEvaluation
from slimseq.app.http.problems import problem_of
from slimseq.app.http.schemas.evaluation import Status
from slimseq.app.jobs.database.tables import EvaluationRow, OutputRow, SampleRow

# How long a process owns an evaluation without a word. A process that died is replaced after it.
LEASE_SECONDS = 15.0
# After so many deaths of processes that ran it, an evaluation is given up: it may be what kills them.
MAX_INTERRUPTIONS = 3
RETRY_SECONDS = 30
# Rows of one statement, so that a large request does not hold the interpreter for long.
PIECE_ROWS = 50

# The columns of a `SampleRow` or an `OutputRow` but for the evaluation.
Values = Mapping[str, Any]

_FINAL = [status for status in Status if status.is_final]


@dataclass(frozen=True)
class Claim:
    """An evaluation that this process runs: the request, and the proof that it is ours."""

    number: int
    id: str
    owner: str
    kind: str
    task: str
    variants: Sequence[str]
    digests: Mapping[str, str | None]
    references: Mapping[str, str]
    runtimes: Mapping[str, str] | None
    options: Mapping[str, Any]
    dataset: str
    samples: int
    are_samples_stored: bool
    request_id: str


def submit(session: Session, row: EvaluationRow, samples: Iterable[Values], max_queued: int, max_kept: int) -> None:
    """Queues an evaluation with its samples, if it has some, and forgets the oldest that have ended.

    Raises:
        Overloaded: too many evaluations are queued.
    """
    waiting = session.scalar(select(func.count()).where(EvaluationRow.status == Status.QUEUED)) or 0
    if waiting >= max_queued:
        raise Overloaded(f"{waiting} evaluations are queued", RETRY_SECONDS)
    session.add(row)
    session.flush()
    _insert(session, SampleRow, row.number, samples)
    ended = select(EvaluationRow.number).where(EvaluationRow.status.in_(_FINAL)).order_by(EvaluationRow.number.desc())
    old = session.scalars(ended.offset(max_kept)).all()
    session.execute(delete(EvaluationRow).where(EvaluationRow.number.in_(old)))


def claim(session: Session) -> Claim | None:
    """Takes the oldest evaluation that nobody runs: a queued one, or one whose process died."""
    is_free = or_(
        EvaluationRow.status == Status.QUEUED,
        and_(EvaluationRow.status == Status.RUNNING, EvaluationRow.owned_until < time.time()),
    )
    oldest = select(EvaluationRow).where(is_free).order_by(EvaluationRow.number).limit(1)
    # Other processes skip the row that one is about to take. SQLite runs one such transaction at a time.
    while row := session.scalar(oldest.with_for_update(skip_locked=True)):
        row.interruptions += row.status == Status.RUNNING
        if row.interruptions > MAX_INTERRUPTIONS:
            reason = f"the service ended {row.interruptions} times while it ran; evaluate fewer or shorter texts"
            _end(row, Status.FAILED, error=problem_of(EvaluationEnded(reason)).model_dump())
            session.flush()
            continue
        row.status, row.owner, row.owned_until = Status.RUNNING, uuid.uuid4().hex, time.time() + LEASE_SECONDS
        row.started_at = row.started_at or datetime.now(UTC)
        fields = Claim.__dataclass_fields__
        return Claim(**{name: getattr(row, name) for name in fields})
    return None


def extend(session: Session, claimed: Claim, **changes: Any) -> bool:
    """Extends the lease of an evaluation, and changes its columns. Returns False if it is not ours any more."""
    changed = (
        update(EvaluationRow)
        .where(EvaluationRow.number == claimed.number, EvaluationRow.owner == claimed.owner)
        .values(owned_until=time.time() + LEASE_SECONDS, **changes)
    )
    return cast(CursorResult[Any], session.execute(changed)).rowcount > 0


def add_samples(session: Session, claimed: Claim, samples: Iterable[Values]) -> bool:
    """Stores all samples of a named data set. Returns False if the evaluation is not ours any more."""
    if not extend(session, claimed):
        return False
    count = _insert(session, SampleRow, claimed.number, samples)
    return extend(session, claimed, are_samples_stored=True, samples=count)


def add_outputs(session: Session, claimed: Claim, outputs: Iterable[Values], progress: float) -> bool:
    """Stores outputs of a variant. Returns False if the evaluation is not ours any more."""
    if not extend(session, claimed, progress=progress):
        return False
    _insert(session, OutputRow, claimed.number, outputs)
    return True


def finish(session: Session, claimed: Claim, status: Status, **changes: Any) -> None:
    """Ends an evaluation that is still ours."""
    own = select(EvaluationRow).where(EvaluationRow.number == claimed.number, EvaluationRow.owner == claimed.owner)
    row = session.scalar(own.with_for_update())
    if row is not None:
        _end(row, status, **changes)


def release(session: Session, claimed: Claim) -> None:
    """Gives an evaluation back, so that the next process goes on with it."""
    extend(session, claimed, status=Status.QUEUED, owner=None)


def find(session: Session, identifier: str) -> EvaluationRow:
    """Returns an evaluation.

    Raises:
        UnknownEvaluation: there is no evaluation with that id.
    """
    row = session.scalar(select(EvaluationRow).where(EvaluationRow.id == identifier))
    if row is None:
        raise UnknownEvaluation(identifier)
    return row


def cancel_or_delete(session: Session, identifier: str) -> EvaluationRow:
    """Cancels an evaluation that has not ended, and deletes its texts; deletes one that has ended. Returns its state.

    Raises:
        UnknownEvaluation: there is no evaluation with that id.
    """
    found = select(EvaluationRow).where(EvaluationRow.id == identifier).with_for_update()
    row = session.scalar(found)
    if row is None:
        raise UnknownEvaluation(identifier)
    if Status(row.status).is_final:
        session.delete(row)
    else:
        _end(row, Status.CANCELLED)
        erase(session, row.number)
    return row


def erase_ended(session: Session, identifier: str) -> None:
    """Deletes the texts of an evaluation that has ended.

    Raises:
        UnknownEvaluation: there is no evaluation with that id.
        EvaluationRuns: it has not ended.
    """
    row = find(session, identifier)
    if not Status(row.status).is_final:
        raise EvaluationRuns(identifier)
    erase(session, row.number)


def erase(session: Session, number: int) -> None:
    """Deletes the texts of an evaluation."""
    for table in (SampleRow, OutputRow):
        session.execute(delete(table).where(table.evaluation == number))


def samples_of(session: Session, number: int, start: int, limit: int) -> Sequence[SampleRow]:
    """Returns samples of an evaluation in their order."""
    rows = select(SampleRow).where(SampleRow.evaluation == number, SampleRow.number >= start)
    return session.scalars(rows.order_by(SampleRow.number).limit(limit)).all()


def outputs_of(session: Session, number: int, start: int, end: int) -> Sequence[OutputRow]:
    """Returns the outputs of all variants for the samples from `start` to before `end`."""
    rows = select(OutputRow).where(OutputRow.evaluation == number, OutputRow.sample >= start, OutputRow.sample < end)
    return session.scalars(rows).all()


def _end(row: EvaluationRow, status: Status, **changes: Any) -> None:
    row.status, row.owner, row.owned_until, row.ended_at = status, None, None, datetime.now(UTC)
    for name, value in changes.items():
        setattr(row, name, value)


def _insert(session: Session, table: type[SampleRow] | type[OutputRow], evaluation: int, rows: Iterable[Values]) -> int:
    count, left = 0, iter(rows)
    while piece := [{**row, "evaluation": evaluation} for row in islice(left, PIECE_ROWS)]:
        session.execute(insert(table), piece)
        count += len(piece)
    return count
