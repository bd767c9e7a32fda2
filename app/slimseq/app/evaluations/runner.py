"""Runs the evaluations of the database, one at a time in each service, the oldest first, in a process of low priority.

An evaluation whose service dies goes on in the next service that finds it, from its last stored output: results are
computed from the stored outputs, so that none is missing and none counts twice.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from slimseq.answers import Status
from slimseq.app.database.database import Database
from slimseq.app.errors import DatabaseUnavailable, EvaluationEnded, InternalError, ShuttingDown, named_error
from slimseq.app.evaluations import rows
from slimseq.app.evaluations.schemas import Claim
from slimseq.app.http.problems import problem_of
from slimseq.app.low_priority import LowPriorityProcess, Message, store_address
from slimseq.app.observability.logs import request_id
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

CHILD = "slimseq.app.evaluations.child"
# How often evaluations are looked for that another service posted or left.
POLL_SECONDS = 5.0
RETRY_SECONDS = 1.0
# To end the loop while the service stops, and of it, to give the evaluation back.
CLOSING_SECONDS = 1.5
RELEASE_SECONDS = 1.0
# Samples that are read at once.
PAGE_SAMPLES = 50

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class NotOurs(Exception):
    """Raised when an evaluation was cancelled, or another service has taken it over."""


class EvaluationRunner:
    """The loop that runs evaluations. Used from the event loop.

    `timeout_seconds` is the maximum duration of an evaluation in one service.
    """

    def __init__(self, chooser: Chooser, database: Database, timeout_seconds: float = 3600) -> None:
        self._chooser = chooser
        self._catalogue = chooser.catalogue
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._owner = rows.this_process()
        self._is_awake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._running: tuple[Claim, LowPriorityProcess] | None = None
        self._is_closing = False

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run_all(), name="evaluations")

    def wake(self) -> None:
        """Makes the loop look for evaluations now."""
        self._is_awake.set()

    def check_open(self) -> None:
        """Raises `ShuttingDown` if the service is stopping."""
        if self._is_closing:
            raise ShuttingDown()

    def kill(self, identifier: str) -> None:
        """Kills the process of an evaluation that was cancelled, if this service runs it."""
        if self._running is not None and self._running[0].id == identifier:
            self._running[1].kill()

    async def close(self) -> None:
        """Ends the loop and the process, and gives the evaluation back."""
        self._is_closing = True
        self.wake()
        if self._running is not None:
            self._running[1].kill()
        if self._loop is not None:
            await asyncio.wait({self._loop}, timeout=CLOSING_SECONDS)
            self._loop.cancel()

    async def _run_all(self) -> None:
        while not self._is_closing:
            self._is_awake.clear()
            claimed = None
            try:
                claimed = await self._database.run(lambda session: rows.claim(session, self._owner))
                if claimed is not None:
                    await self._run(claimed)
            except DatabaseUnavailable:
                pass
            except Exception:
                logger.exception("an evaluation was not run")
            if claimed is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._is_awake.wait(), POLL_SECONDS)

    async def _run(self, claimed: Claim) -> None:
        request_id.set(claimed.request_id)
        process = LowPriorityProcess(CHILD)
        if self._is_closing:
            # It is given back at once.
            process.kill()
        self._running = claimed, process
        until = time.monotonic() + self._timeout_seconds
        timer = asyncio.get_running_loop().call_later(self._timeout_seconds, process.kill)
        try:
            status, changes = await self._ending(claimed, process, until)
        except NotOurs:
            return
        finally:
            timer.cancel()
            self._running = None
        if self._is_closing:
            with contextlib.suppress(DatabaseUnavailable, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._database.run(lambda session: rows.leave(session, claimed, Status.QUEUED))
            return
        # As soon as the database is there.
        while not self._is_closing:
            with contextlib.suppress(DatabaseUnavailable):
                return await self._database.run(lambda session: rows.leave(session, claimed, status, **changes))
            await asyncio.sleep(RETRY_SECONDS)

    async def _ending(self, claimed: Claim, process: LowPriorityProcess, until: float) -> tuple[Status, dict[str, Any]]:
        """Runs an evaluation, and returns how it ended.

        Raises:
            NotOurs: it is not ours any more.
        """
        try:
            results = await asyncio.to_thread(self._evaluate, self._with_runtimes(claimed), process)
            return Status.SUCCEEDED, {"results": results, "progress": 1.0}
        except NotOurs:
            raise
        except SlimseqError as raised:
            error = raised
            if isinstance(raised, EvaluationEnded) and time.monotonic() >= until:
                limit = f"it exceeded the limit of {self._timeout_seconds:g} s; evaluate fewer or shorter texts"
                error = EvaluationEnded(limit)
        except Exception:
            logger.exception("evaluation failed", extra={"evaluation": claimed.id})
            error = InternalError()
        return Status.FAILED, {"error": problem_of(error).model_dump()}

    def _with_runtimes(self, claimed: Claim) -> Claim:
        task = Task(claimed.task)
        now = self._chooser.digests(task, claimed.variants)
        changed = [name for name in claimed.variants if now[name] != claimed.digests[name]]
        if changed:
            raise EvaluationEnded(f"{', '.join(changed)} changed in the store since it was posted; post it again")
        # Those of the outputs that there are already.
        runtimes = claimed.runtimes or {name: self._catalogue.runtime(task, name) for name in claimed.variants}
        return replace(claimed, runtimes=runtimes)

    def _evaluate(self, claimed: Claim, process: LowPriorityProcess) -> dict[str, Any]:
        """Runs the process of an evaluation, in a thread, and stores what it writes."""
        samples: list[rows.Values] = []

        def store(change: Callable[[Session], bool]) -> None:
            if not self._transact(process, change):
                raise NotOurs

        def keep(message: Message) -> None:
            match message:
                case {"samples": piece}:
                    numbered = enumerate(piece, len(samples))
                    samples.extend(
                        {"number": number, "source": pair[0], "target": pair[1]} for number, pair in numbered
                    )
                case {"sample_count": found}:
                    changes = {"are_samples_stored": True, "samples": found}
                    store(lambda session: rows.record(session, claimed, rows.SampleRow, samples, **changes))
                    samples.clear()
                case {"outputs": outputs, "progress": part}:
                    store(lambda session: rows.record(session, claimed, rows.OutputRow, outputs, progress=part))
                case {"progress": part}:
                    store(lambda session: rows.record(session, claimed, progress=part))

        def known() -> Iterator[Message]:
            for start in count(step=PAGE_SAMPLES):
                page = self._transact(process, partial(_page, number=claimed.number, start=start))
                if not page:
                    return
                yield from page

        store(lambda session: rows.record(session, claimed, runtimes=claimed.runtimes))
        return run_process(process, self._catalogue.store, claimed, known(), keep)

    def _transact(self, process: LowPriorityProcess, work: Callable[[Session], Result]) -> Result:
        """Runs a transaction in this thread as soon as the database is there. The process waits meanwhile."""
        while True:
            try:
                return self._database.transact(work)
            except DatabaseUnavailable:
                if process.is_killed:
                    raise EvaluationEnded("its process was killed while the database was not available") from None
                time.sleep(RETRY_SECONDS)


def run_process(
    process: LowPriorityProcess,
    store: Store,
    claimed: Claim,
    known: Iterable[Message],
    on_message: Callable[[Message], None],
) -> dict[str, Any]:
    """Runs the process of an evaluation, and returns the results.

    Args:
        process: not started yet.
        store: of the variants.
        claimed: the evaluation.
        known: the samples and outputs that are stored.
        on_message: called with every message before the result. What it raises ends the process.

    Raises:
        EvaluationEnded: the process was killed, or ended without a result.
        SlimseqError: the evaluation failed with this error.
        InternalError: the evaluation failed with an unexpected exception, which is logged.
    """

    def messages() -> Iterator[object]:
        yield {"store": store_address(store), "evaluation": asdict(claimed)}
        yield from known
        yield None

    try:
        if not process.send(messages()):
            raise EvaluationEnded("its process was not started")
        while (message := process.receive()) is not None:
            match message:
                case {"result": dict(found)}:
                    return found
                case {"error": name, "detail": detail}:
                    raise named_error(name, detail)
                case {"crash": trace}:
                    logger.error("evaluation failed", extra={"exception": trace})
                    raise InternalError()
            on_message(message)
        raise EvaluationEnded(_how_it_ended(process.wait()))
    finally:
        process.end()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}; see the log of the service"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return f"its process was killed ({name}), probably for lack of memory; evaluate fewer or shorter texts"
    return f"its process crashed ({name})"


def _page(session: Session, number: int, start: int) -> list[Message]:
    """Returns some stored samples, and their outputs."""
    samples = rows.samples_of(session, number, start, PAGE_SAMPLES)
    outputs = rows.outputs_of(session, number, start, start + PAGE_SAMPLES)
    names = [column.name for column in rows.OutputRow.__table__.columns if column.name != "evaluation"]
    return [
        *({"sample": [sample.source, sample.target]} for sample in samples),
        *({"output": {name: getattr(output, name) for name in names}} for output in outputs),
    ]
