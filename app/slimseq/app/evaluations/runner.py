"""Runs the evaluations of the database, one at a time in each service, the oldest first.

An evaluation whose service dies goes on in the next service that finds it, from its last stored output: results are
computed from the stored outputs, so that none is missing and none counts twice.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from slimseq.app.database.database import Database
from slimseq.app.errors import DatabaseUnavailable, EvaluationEnded, InternalError, ShuttingDown
from slimseq.app.evaluations import rows
from slimseq.app.evaluations.process import EvaluationOrder, EvaluationProcess, line_of
from slimseq.app.evaluations.rows import Claim, OutputRow
from slimseq.app.evaluations.schemas import Status
from slimseq.app.http.problems import problem_of
from slimseq.app.observability.logs import request_id
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.runtimes import RuntimeChooser
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

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
    """The loop that runs evaluations. Used from the event loop."""

    def __init__(
        self,
        store: Store,
        chooser: Chooser,
        runtimes: RuntimeChooser,
        database: Database,
        timeout_seconds: float = 3600,
    ) -> None:
        """Makes the runner; `start` starts it.

        Args:
            store: of the artifacts.
            chooser: knows the variants.
            runtimes: selects the runtime of a variant.
            database: has the evaluations.
            timeout_seconds: maximum duration of an evaluation in one service.
        """
        self._store = store
        self._chooser = chooser
        self._runtimes = runtimes
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._owner = rows.this_process()
        self._is_awake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._running: tuple[Claim, EvaluationProcess] | None = None
        self._is_closing = False

    def start(self) -> None:
        """Starts the loop."""
        self._loop = asyncio.create_task(self._run_all(), name="evaluations")

    def wake(self) -> None:
        """Makes the loop look for evaluations now."""
        self._is_awake.set()

    def check_open(self) -> None:
        """Checks that evaluations may be posted.

        Raises:
            ShuttingDown: the service is stopping.
        """
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
        process = EvaluationProcess()
        if self._is_closing:
            # It is given back at once.
            process.kill()
        self._running = claimed, process
        until = time.monotonic() + self._timeout_seconds
        timer = asyncio.get_running_loop().call_later(self._timeout_seconds, process.kill)
        try:
            ending = await self._ending(claimed, process, until)
        finally:
            timer.cancel()
            self._running = None
        if self._is_closing:
            with contextlib.suppress(DatabaseUnavailable, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._database.run(lambda session: rows.release(session, claimed))
        elif ending is not None:
            status, changes = ending
            await self._persist(lambda session: rows.finish(session, claimed, status, **changes))

    async def _ending(
        self, claimed: Claim, process: EvaluationProcess, until: float
    ) -> tuple[Status, dict[str, Any]] | None:
        """Runs an evaluation. Returns how it ended; None if it is not ours any more."""
        try:
            order = self._order(claimed)
            results = await asyncio.to_thread(self._evaluate, claimed, order, process)
            return Status.SUCCEEDED, {"results": results, "progress": 1.0}
        except NotOurs:
            return None
        except EvaluationEnded as raised:
            error: SlimseqError = raised
            if time.monotonic() >= until:
                limit = f"it exceeded the limit of {self._timeout_seconds:g} s; evaluate fewer or shorter texts"
                error = EvaluationEnded(limit)
        except SlimseqError as raised:
            error = raised
        except Exception:
            logger.exception("evaluation failed", extra={"evaluation": claimed.id})
            error = InternalError()
        return Status.FAILED, {"error": problem_of(error).model_dump()}

    def _order(self, claimed: Claim) -> EvaluationOrder:
        task = Task(claimed.task)
        now = self._chooser.digests(task, claimed.variants)
        changed = [name for name in claimed.variants if now[name] != claimed.digests[name]]
        if changed:
            raise EvaluationEnded(f"{', '.join(changed)} changed in the store since it was posted; post it again")
        return EvaluationOrder(
            kind=claimed.kind,
            store=str(self._store.root),
            trusted_keys=self._store.trusted.pems if self._store.trusted else None,
            task=claimed.task,
            # Those of the outputs that there are already.
            runtimes=claimed.runtimes or {name: self._runtimes.choose(task, name) for name in claimed.variants},
            references=claimed.references,
            dataset=claimed.dataset,
            samples=claimed.samples,
            are_samples_known=claimed.are_samples_stored,
            options=claimed.options,
        )

    def _evaluate(self, claimed: Claim, order: EvaluationOrder, process: EvaluationProcess) -> dict[str, Any]:
        """Runs the process of an evaluation, in a thread, and stores what it writes."""
        samples: list[tuple[str, str]] = []

        def store(change: Callable[[Session], bool]) -> None:
            if not self._transact(process, change):
                raise NotOurs

        def keep(message: dict[str, Any]) -> None:
            match message:
                case {"samples": piece}:
                    samples.extend(piece)
                case {"sample_count": _}:
                    values = [
                        {"number": number, "source": source, "target": target}
                        for number, (source, target) in enumerate(samples)
                    ]
                    store(lambda session: rows.add_samples(session, claimed, values))
                    samples.clear()
                case {"outputs": outputs, "progress": part}:
                    store(lambda session: rows.add_outputs(session, claimed, outputs, part))
                case {"progress": part}:
                    store(lambda session: rows.change(session, claimed, progress=part))

        def lines() -> Iterator[bytes]:
            yield order.line()
            start = 0
            while page := self._transact(process, partial(_page, number=claimed.number, start=start)):
                yield from page
                start += PAGE_SAMPLES

        store(lambda session: rows.change(session, claimed, runtimes=dict(order.runtimes)))
        return process.run(lines(), keep)

    def _transact(self, process: EvaluationProcess, work: Callable[[Session], Result]) -> Result:
        """Runs a transaction in this thread as soon as the database is there. The process waits meanwhile."""
        while True:
            try:
                return self._database.transact(work)
            except DatabaseUnavailable:
                if process.is_killed:
                    raise EvaluationEnded("its process was killed while the database was not available") from None
                time.sleep(RETRY_SECONDS)

    async def _persist(self, work: Callable[[Session], Result]) -> None:
        """Runs a transaction as soon as the database is there, unless the service stops."""
        while not self._is_closing:
            with contextlib.suppress(DatabaseUnavailable):
                await self._database.run(work)
                return
            await asyncio.sleep(RETRY_SECONDS)


def _page(session: Session, number: int, start: int) -> Sequence[bytes]:
    samples = rows.samples_of(session, number, start, PAGE_SAMPLES)
    outputs = rows.outputs_of(session, number, start, start + PAGE_SAMPLES)
    return [
        *(line_of({"sample": [sample.source, sample.target]}) for sample in samples),
        *(line_of({"output": _fields(output)}) for output in outputs),
    ]


def _fields(row: OutputRow) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in row.__table__.columns if column.name != "evaluation"}
