"""The tables of evaluations, and the transactions on them: submit, claim, record, end, list and delete.

A process that runs an evaluation owns it, and writes only while it does: an evaluation that was cancelled, or that
another process took over, is not changed by the one that ran it before.
"""

import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, cast

import psutil
from sqlalchemy import JSON, CursorResult, ForeignKey, String, delete, func, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from slimseq.answers import Status
from slimseq.app.database.tables import Numbered, Table, UserText
from slimseq.app.errors import EvaluationEnded, Forbidden, NotFound, Overloaded
from slimseq.app.evaluations.schemas import Claim
from slimseq.app.http.problems import problem_of

# An evaluation without a new output for so long is taken from its owner, if that is on another machine: it may be dead.
SILENCE_SECONDS = 900.0
# A process may seem to have started a little earlier or later after the clock was adjusted.
CLOCK_SECONDS = 5.0
RETRY_SECONDS = 30
# So often may the service die while it runs an evaluation, as it does where all its processes share a limit of memory.
# The next time the evaluation fails: it would end the service, and all requests with it, over and over.
MAX_INTERRUPTIONS = 3

# The columns of a `SampleRow` or an `OutputRow` but for the evaluation.
Values = Mapping[str, Any]
TextRow = type["SampleRow"] | type["OutputRow"]

logger = logging.getLogger(__name__)

_FINAL = [status for status in Status if status.is_final]
_FREE: Mapping[str, Any] = {"owner": None, "written_at": None}


class EvaluationRow(Numbered):
    """An evaluation.

    `languages` are those of the data; rows of before data had any have none. An evaluation has by variant the digest at
    its submission, the reference if that is one of the variants, and the runtime once it runs. `this_process` names the
    owner, which wrote the last time at `written_at`, in seconds since the epoch. `interruptions` says how often an
    owner died; it is None in rows of before it was counted.
    """

    __tablename__ = "evaluations"

    id: Mapped[str] = mapped_column(unique=True)
    task: Mapped[str]
    variants: Mapped[list[str]]
    digests: Mapped[dict[str, Any]]
    references: Mapped[dict[str, Any]]
    runtimes: Mapped[dict[str, Any] | None]
    dataset: Mapped[str]
    samples: Mapped[int]
    languages: Mapped[list[str] | None]
    are_samples_stored: Mapped[bool]
    status: Mapped[str] = mapped_column(index=True)
    progress: Mapped[float]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    owner: Mapped[str | None] = mapped_column(String(128))
    written_at: Mapped[float | None]
    interruptions: Mapped[int | None]
    request_id: Mapped[str] = mapped_column(String(128))
    # Who posted it: the id of a key, or without keys the network of a client, which is kept while it is queued only.
    key_id: Mapped[str | None]
    network: Mapped[str | None]
    results: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class SampleRow(Table):
    __tablename__ = "evaluation_samples"

    evaluation: Mapped[int] = mapped_column(ForeignKey("evaluations.number", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    source: Mapped[str] = mapped_column(UserText)
    target: Mapped[str] = mapped_column(UserText)


class OutputRow(Table):
    """The output of a variant for a sample. `seconds` is its share of the time of its batch."""

    __tablename__ = "evaluation_outputs"

    evaluation: Mapped[int] = mapped_column(ForeignKey("evaluations.number", ondelete="CASCADE"), primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    sample: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(UserText)
    finish_reason: Mapped[str]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    truncated: Mapped[bool]
    seconds: Mapped[float]
    score: Mapped[float]
    confidence: Mapped[float | None]
    warnings: Mapped[list[Any] | None] = mapped_column(JSON)


def submit(
    session: Session,
    row: EvaluationRow,
    samples: Iterable[Values],
    *,
    max_queued: int,
    max_queued_by_one: int,
    max_kept: int,
) -> None:
    """Queues an evaluation with its samples, if it has some, and forgets the oldest that have ended."""
    is_queued = EvaluationRow.status == Status.QUEUED
    waiting = session.scalar(select(func.count()).where(is_queued)) or 0
    if waiting >= max_queued:
        raise Overloaded(f"{waiting} evaluations are queued", RETRY_SECONDS)
    sender, who = EvaluationRow.key_id == row.key_id, "this key"
    if row.key_id is None:
        sender, who = EvaluationRow.network == row.network, "this address"
    own = session.scalar(select(func.count()).where(is_queued, sender)) or 0
    if own >= max_queued_by_one and (row.key_id or row.network):
        raise Overloaded(f"{own} evaluations of {who} are queued", RETRY_SECONDS)
    session.add(row)
    session.flush()
    _insert(session, SampleRow, row.number, samples)
    ended = select(EvaluationRow.number).where(EvaluationRow.status.in_(_FINAL)).order_by(EvaluationRow.number.desc())
    old = session.scalars(ended.offset(max_kept)).all()
    session.execute(delete(EvaluationRow).where(EvaluationRow.number.in_(old)))


def this_process() -> str:
    """Returns what names this process among all that were and will be: its machine, its id, and when it started."""
    return f"{_host()} {os.getpid()} {psutil.Process().create_time():.2f}"


def claim(session: Session, owner: str) -> Claim | None:
    """Takes the oldest queued evaluation, after those whose process has died are queued again."""
    for running in session.scalars(select(EvaluationRow).where(EvaluationRow.status == Status.RUNNING)).all():
        if _has_died(running):
            _interrupt(session, running)
    queued = EvaluationRow.status == Status.QUEUED
    oldest = session.scalar(select(EvaluationRow).where(queued).order_by(EvaluationRow.number).limit(1))
    if oldest is None:
        return None
    taken = update(EvaluationRow).where(EvaluationRow.number == oldest.number, queued)
    values = {"status": Status.RUNNING, "owner": owner, "written_at": time.time(), "network": None}
    if not cast(CursorResult[Any], session.execute(taken.values(values))).rowcount:
        # Another process was faster.
        return None
    session.refresh(oldest)
    oldest.started_at = oldest.started_at or datetime.now(UTC)
    return Claim(**{field.name: getattr(oldest, field.name) for field in fields(Claim)})


def record(
    session: Session, claimed: Claim, table: TextRow | None = None, rows: Iterable[Values] = (), **changes: Any
) -> bool:
    """Changes columns of an evaluation, and adds samples or outputs. Returns False if it is not ours any more."""
    if not _update(session, claimed.number, claimed.owner, written_at=time.time(), **changes):
        return False
    if table is not None:
        _insert(session, table, claimed.number, rows)
    return True


def leave(session: Session, claimed: Claim, status: Status, **changes: Any) -> None:
    """Ends an evaluation that is still ours, or queues it again, so that the next process goes on with it."""
    ended_at = datetime.now(UTC) if status.is_final else None
    _update(session, claimed.number, claimed.owner, status=status, ended_at=ended_at, **_FREE, **changes)


def find(session: Session, identifier: str) -> EvaluationRow:
    row = session.scalar(select(EvaluationRow).where(EvaluationRow.id == identifier))
    if row is None:
        raise NotFound(f"there is no evaluation {identifier!r}; old evaluations are deleted")
    return row


def cancel_or_delete(session: Session, identifier: str, key_id: str | None) -> EvaluationRow:
    """Cancels an evaluation that has not ended, and deletes its texts; deletes one that has. Returns its state.

    With a `key_id` it must be one that this key posted.
    """
    row = find(session, identifier)
    session.refresh(row, with_for_update=True)
    if key_id is not None and row.key_id != key_id:
        raise Forbidden(
            "only the key that posted an evaluation, or one with the scope `admin`, may cancel or delete it"
        )
    if Status(row.status).is_final:
        session.delete(row)
    else:
        row.status, row.owner, row.written_at, row.ended_at = Status.CANCELLED, None, None, datetime.now(UTC)
        row.network = None
        for table in (SampleRow, OutputRow):
            session.execute(delete(table).where(table.evaluation == row.number))
    return row


def samples_of(session: Session, number: int, start: int, limit: int) -> Sequence[SampleRow]:
    rows = select(SampleRow).where(SampleRow.evaluation == number, SampleRow.number >= start)
    return session.scalars(rows.order_by(SampleRow.number).limit(limit)).all()


def outputs_of(session: Session, number: int, start: int, end: int) -> Sequence[OutputRow]:
    rows = select(OutputRow).where(OutputRow.evaluation == number, OutputRow.sample >= start, OutputRow.sample < end)
    return session.scalars(rows).all()


def _interrupt(session: Session, running: EvaluationRow) -> None:
    """Queues an evaluation again whose service has died, or lets it fail if that has happened too often."""
    times = (running.interruptions or 0) + 1
    changes: dict[str, Any] = {"status": Status.QUEUED, "interruptions": times}
    if times > MAX_INTERRUPTIONS:
        logger.error("an evaluation is given up: its service died too often", extra={"evaluation": running.id})
        error = EvaluationEnded(f"the service ended {times} times while it ran; evaluate fewer or shorter texts")
        changes |= {"status": Status.FAILED, "ended_at": datetime.now(UTC), "error": problem_of(error).model_dump()}
    else:
        logger.info("an evaluation whose service has died goes on", extra={"evaluation": running.id})
    _update(session, running.number, running.owner, **_FREE, **changes)


def _has_died(running: EvaluationRow) -> bool:
    """Whether the process that runs an evaluation is gone. Of another machine's, only its silence says so."""
    host, identifier, started = str(running.owner).split()
    if host != _host():
        return time.time() - (running.written_at or 0.0) > SILENCE_SECONDS
    # This process runs none while it claims one: its id was another one's, as in a container that was restarted.
    if int(identifier) == os.getpid():
        return True
    try:
        started_now: float = psutil.Process(int(identifier)).create_time()
        return abs(started_now - float(started)) > CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True


def _host() -> str:
    return socket.gethostname()[:64]


def _update(session: Session, number: int, by: str | None, **changes: Any) -> bool:
    own = update(EvaluationRow).where(EvaluationRow.number == number, EvaluationRow.owner == by)
    return bool(cast(CursorResult[Any], session.execute(own.values(changes))).rowcount)


def _insert(session: Session, table: TextRow, evaluation: int, rows: Iterable[Values]) -> None:
    if added := [{**row, "evaluation": evaluation} for row in rows]:
        session.execute(insert(table), added)
