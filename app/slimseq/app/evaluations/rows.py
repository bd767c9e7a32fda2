"""The tables of evaluations, and the transactions on them: submit, claim, record, end, find, cancel and delete.

`slimseq.app.evaluations.service` submits, reads and deletes evaluations; `slimseq.app.evaluations.runner` claims and
runs them. A process that runs an evaluation is its owner, and each write of the runner asks whether it still is. So a
process does not change an evaluation that was cancelled, or that another process took over.
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
from sqlalchemy import JSON, CursorResult, ForeignKey, String, Update, delete, func, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from slimseq.answers import Status
from slimseq.app.database.tables import Numbered, Table, UserText
from slimseq.app.errors import EvaluationEnded, Forbidden, NotFound, Overloaded
from slimseq.app.evaluations.schemas import Claim
from slimseq.app.http.problems import problem_of

# An owner on another machine cannot be looked up among the processes here. If it has written nothing for this long, it
# is considered dead, and its evaluation goes to another process.
SILENCE_SECONDS = 900.0
# Tolerance when start times of a process are compared: they shift after the clock was adjusted.
START_TOLERANCE_SECONDS = 5.0
# `Retry-After` when the queue is full: an evaluation takes seconds to minutes.
RETRY_AFTER_SECONDS = 30
# How often the service may die while it runs an evaluation. At the next death the evaluation fails.
# The evaluation may be what kills the service, where all its processes share a limit of memory. Then it would end the
# service, and all requests with it, again and again.
MAX_INTERRUPTIONS = 3
# The column `owner` has 128 characters. The process id and the start time need some of them.
MAX_HOST_CHARACTERS = 64

# The columns of a `SampleRow` or an `OutputRow`, without `evaluation`.
Values = Mapping[str, Any]
TextRow = type["SampleRow"] | type["OutputRow"]

logger = logging.getLogger(__name__)

_FINAL_STATUSES = [status for status in Status if status.is_final]
_NO_OWNER: Mapping[str, Any] = {"owner": None, "written_at": None}


class EvaluationRow(Numbered):
    """An evaluation: what to evaluate, its state, who posted it and who runs it, and its results."""

    __tablename__ = "evaluations"

    id: Mapped[str] = mapped_column(unique=True)
    task: Mapped[str]
    variants: Mapped[list[str]]
    # By variant: the digest at the submission; the name of the variant's reference, if the reference is one of
    # `variants`; and the runtime, which is known once the evaluation runs.
    digests: Mapped[dict[str, Any]]
    references: Mapped[dict[str, Any]]
    runtimes: Mapped[dict[str, Any] | None]
    dataset: Mapped[str]
    samples: Mapped[int]
    # Languages of the data. Older rows have None.
    languages: Mapped[list[str] | None]
    are_samples_stored: Mapped[bool]
    status: Mapped[str] = mapped_column(index=True)
    progress: Mapped[float]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    # The process that runs the evaluation, as `this_process` names it, and when it wrote last, in seconds of the epoch.
    owner: Mapped[str | None] = mapped_column(String(128))
    written_at: Mapped[float | None]
    # How often an owner died. Older rows have None.
    interruptions: Mapped[int | None]
    request_id: Mapped[str] = mapped_column(String(128))
    # Who posted it: the id of a key, or without keys the network of the client. The network is forgotten once the
    # evaluation leaves the queue.
    key_id: Mapped[str | None]
    network: Mapped[str | None]
    results: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class SampleRow(Table):
    """A sample of an evaluation: the source text, and the text that outputs are compared with (`target`)."""

    __tablename__ = "evaluation_samples"

    evaluation: Mapped[int] = mapped_column(ForeignKey("evaluations.number", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    source: Mapped[str] = mapped_column(UserText)
    target: Mapped[str] = mapped_column(UserText)


class OutputRow(Table):
    """The output of a variant for a sample. `seconds` is the time of its batch divided by the outputs of the batch."""

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
    """Queues an evaluation with its samples, if it has some, and deletes the oldest evaluations that have ended.

    Raises:
        Overloaded: too many evaluations are queued, of all senders or of the one that posts this evaluation.
    """
    is_queued = EvaluationRow.status == Status.QUEUED
    queued_count = session.scalar(select(func.count()).where(is_queued)) or 0
    if queued_count >= max_queued:
        raise Overloaded(f"{queued_count} evaluations are queued", RETRY_AFTER_SECONDS)
    if row.key_id is not None:
        sender = "this key"
        is_of_sender = EvaluationRow.key_id == row.key_id
    else:
        sender = "this address"
        is_of_sender = EvaluationRow.network == row.network
    own_count = session.scalar(select(func.count()).where(is_queued, is_of_sender)) or 0
    # The operator's token has neither a key id nor a network, and so no limit of its own.
    has_sender = bool(row.key_id or row.network)
    if has_sender and own_count >= max_queued_by_one:
        raise Overloaded(f"{own_count} evaluations of {sender} are queued", RETRY_AFTER_SECONDS)

    session.add(row)
    # The flush gives the row its number, which the samples refer to.
    session.flush()
    _insert(session, SampleRow, row.number, samples)

    ended_newest_first = (
        select(EvaluationRow.number)
        .where(EvaluationRow.status.in_(_FINAL_STATUSES))
        .order_by(EvaluationRow.number.desc())
    )
    old = session.scalars(ended_newest_first.offset(max_kept)).all()
    session.execute(delete(EvaluationRow).where(EvaluationRow.number.in_(old)))


def this_process() -> str:
    """Returns a name that no other process has, had or will have: the machine, the process id, and the start time."""
    return f"{_host()} {os.getpid()} {psutil.Process().create_time():.2f}"


def claim(session: Session, owner: str) -> Claim | None:
    """Queues evaluations again whose owner has died. Then makes `owner` the owner of the oldest queued evaluation.

    Returns None if no evaluation is queued.
    """
    select_running = select(EvaluationRow).where(EvaluationRow.status == Status.RUNNING)
    for running in session.scalars(select_running).all():
        if _has_died(running):
            _interrupt(session, running)

    is_queued = EvaluationRow.status == Status.QUEUED
    oldest = session.scalar(select(EvaluationRow).where(is_queued).order_by(EvaluationRow.number).limit(1))
    if oldest is None:
        return None
    # The condition `is_queued` makes the update atomic: of several processes, one changes the row.
    update_if_queued = update(EvaluationRow).where(EvaluationRow.number == oldest.number, is_queued)
    values = {"status": Status.RUNNING, "owner": owner, "written_at": time.time(), "network": None}
    if not _changes_a_row(session, update_if_queued.values(values)):
        # Another process was faster.
        return None
    session.refresh(oldest)
    # An evaluation that was interrupted keeps its first start.
    if oldest.started_at is None:
        oldest.started_at = datetime.now(UTC)
    # The fields of a claim are columns of the row.
    columns = {field.name: getattr(oldest, field.name) for field in fields(Claim)}
    return Claim(**columns)


def record(
    session: Session, claimed: Claim, table: TextRow | None = None, rows: Iterable[Values] = (), **changes: Any
) -> bool:
    """Writes what the runner found: `changes` are columns of the claimed evaluation, `rows` are samples or outputs.

    `table` is the table of `rows`.

    Returns:
        False, and changes nothing, if this process is no longer the owner.
    """
    if not _update(session, claimed.number, claimed.owner, written_at=time.time(), **changes):
        return False
    if table is not None:
        _insert(session, table, claimed.number, rows)
    return True


def leave(session: Session, claimed: Claim, status: Status, **changes: Any) -> None:
    """Gives up the ownership of an evaluation: it has ended, or is queued again for the next process.

    `changes` are further columns, such as the results. If this process is no longer the owner, nothing changes.
    """
    ended_at = datetime.now(UTC) if status.is_final else None
    _update(session, claimed.number, claimed.owner, status=status, ended_at=ended_at, **_NO_OWNER, **changes)


def find(session: Session, identifier: str) -> EvaluationRow:
    row = session.scalar(select(EvaluationRow).where(EvaluationRow.id == identifier))
    if row is None:
        raise NotFound(f"there is no evaluation {identifier!r}; old evaluations are deleted")
    return row


def cancel_or_delete(session: Session, identifier: str, only_of_key: str | None = None) -> EvaluationRow:
    """Cancels an evaluation that has not ended, and deletes its texts. Deletes an evaluation that has ended.

    Returns the last state of the evaluation. With `only_of_key`, evaluations that this key did not post are refused;
    None allows all.
    """
    row = find(session, identifier)
    # Locks the row: until this transaction ends, no other process claims the evaluation or writes its results.
    session.refresh(row, with_for_update=True)
    if only_of_key is not None and row.key_id != only_of_key:
        raise Forbidden(
            "only the key that posted an evaluation, or one with the scope `admin`, may cancel or delete it"
        )
    if Status(row.status).is_final:
        session.delete(row)
    else:
        row.status = Status.CANCELLED
        row.ended_at = datetime.now(UTC)
        row.owner = None
        row.written_at = None
        row.network = None
        for table in (SampleRow, OutputRow):
            session.execute(delete(table).where(table.evaluation == row.number))
    return row


def find_samples(session: Session, evaluation: int, start: int, limit: int) -> Sequence[SampleRow]:
    """Returns at most `limit` samples of an evaluation in their order, from the number `start` on."""
    rows = select(SampleRow).where(SampleRow.evaluation == evaluation, SampleRow.number >= start)
    return session.scalars(rows.order_by(SampleRow.number).limit(limit)).all()


def find_outputs(session: Session, evaluation: int, start: int, end: int) -> Sequence[OutputRow]:
    """Returns the outputs of all variants for the samples from `start` to `end`, without `end`."""
    rows = select(OutputRow).where(
        OutputRow.evaluation == evaluation, OutputRow.sample >= start, OutputRow.sample < end
    )
    return session.scalars(rows).all()


def _interrupt(session: Session, running: EvaluationRow) -> None:
    """Queues an evaluation again whose service has died, or lets it fail if that has happened too often."""
    interruptions = (running.interruptions or 0) + 1
    changes: dict[str, Any] = {"status": Status.QUEUED, "interruptions": interruptions}
    if interruptions > MAX_INTERRUPTIONS:
        logger.error("an evaluation is given up: its service died too often", extra={"evaluation": running.id})
        error = EvaluationEnded(
            f"the service ended {interruptions} times while it ran; evaluate fewer or shorter texts"
        )
        changes |= {"status": Status.FAILED, "ended_at": datetime.now(UTC), "error": problem_of(error).model_dump()}
    else:
        logger.info("an evaluation whose service has died goes on", extra={"evaluation": running.id})
    _update(session, running.number, running.owner, **_NO_OWNER, **changes)


def _has_died(running: EvaluationRow) -> bool:
    """Whether the owner of a running evaluation is gone. For an owner on another machine, only its silence says so."""
    host, process_id, started_at = str(running.owner).split()
    if host != _host():
        return time.time() - (running.written_at or 0.0) > SILENCE_SECONDS
    # This process is looking for an evaluation to run, so it runs none. The owner was an earlier process with the same
    # id, as happens in a container that was restarted.
    if int(process_id) == os.getpid():
        return True
    try:
        started_at_now: float = psutil.Process(int(process_id)).create_time()
    except psutil.NoSuchProcess:
        return True
    # Another process may have got the id of the owner.
    return abs(started_at_now - float(started_at)) > START_TOLERANCE_SECONDS


def _host() -> str:
    return socket.gethostname()[:MAX_HOST_CHARACTERS]


def _update(session: Session, number: int, expected_owner: str | None, **changes: Any) -> bool:
    """Sets columns of an evaluation if its owner is still the expected one. Returns whether it is."""
    update_if_owned = update(EvaluationRow).where(EvaluationRow.number == number, EvaluationRow.owner == expected_owner)
    return _changes_a_row(session, update_if_owned.values(changes))


def _changes_a_row(session: Session, statement: Update) -> bool:
    """Executes an update. Returns whether a row met its conditions."""
    result = cast(CursorResult[Any], session.execute(statement))
    return result.rowcount > 0


def _insert(session: Session, table: TextRow, evaluation: int, rows: Iterable[Values]) -> None:
    added = [{**row, "evaluation": evaluation} for row in rows]
    if added:
        session.execute(insert(table), added)
