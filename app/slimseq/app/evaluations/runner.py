"""Runs the evaluations of the database, one at a time in each service, the oldest first, in a process of low priority.

An evaluation whose service dies goes on in the next service that finds it, from its last stored output: results are
computed from the stored outputs, so that none is missing and none counts twice.
"""

import asyncio
import logging
import signal
import threading
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
from slimseq.app.failures import answer_to
from slimseq.app.http.problems import problem_of
from slimseq.app.low_priority import LowPriorityProcess, Message, store_address
from slimseq.app.observability.logs import request_id
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

CHILD = "slimseq.app.evaluations.child"
# How often evaluations are looked for that another service posted or left.
POLL_SECONDS = 5.0
RETRY_SECONDS = 1.0
# To give the evaluation back while the service stops.
CLOSING_SECONDS = 1.5
# Samples that are read at once.
PAGE_SAMPLES = 50

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class NotOurs(Exception):
    """Raised when an evaluation was cancelled, or another service has taken it over."""


class EvaluationRunner:
    """The thread that runs evaluations, each for at most `timeout_seconds`. It uses the catalogue alone.

    All methods are called on other threads.
    """

    def __init__(self, catalogue: Catalogue, database: Database, timeout_seconds: float = 3600) -> None:
        self._catalogue = catalogue
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._owner = rows.this_process()
        self._is_awake = threading.Event()
        self._thread = threading.Thread(target=self._run_all, name="evaluations", daemon=True)
        self._running: tuple[Claim, LowPriorityProcess] | None = None
        self._is_closing = False

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._is_awake.set()

    def check_open(self) -> None:
        if self._is_closing:
            raise ShuttingDown()

    def kill(self, identifier: str) -> None:
        running = self._running
        if running is not None and running[0].id == identifier:
            running[1].kill()

    async def close(self) -> None:
        """Ends the thread and the process, and gives the evaluation back."""
        self._is_closing = True
        self.wake()
        if running := self._running:
            running[1].kill()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, CLOSING_SECONDS)

    def _run_all(self) -> None:
        while not self._is_closing:
            try:
                claimed = self._database.transact(lambda session: rows.claim(session, self._owner))
                if claimed is not None:
                    self._run(claimed)
                    continue
            except DatabaseUnavailable:
                pass
            except Exception:
                logger.exception("an evaluation was not run")
            self._is_awake.wait(POLL_SECONDS)
            self._is_awake.clear()

    def _run(self, claimed: Claim) -> None:
        request_id.set(claimed.request_id)
        process = LowPriorityProcess(CHILD)
        self._running = claimed, process
        if self._is_closing:
            # It is given back at once.
            process.kill()
        until = time.monotonic() + self._timeout_seconds
        timer = threading.Timer(self._timeout_seconds, process.kill)
        timer.daemon = True
        timer.start()
        status, changes = Status.FAILED, dict[str, Any]()
        try:
            results = self._evaluate(self._with_runtimes(claimed), process)
            status, changes = Status.SUCCEEDED, {"results": results, "progress": 1.0}
        except NotOurs:
            return
        except Exception as error:
            changes = {"error": problem_of(self._reason(error, until)).model_dump()}
        finally:
            timer.cancel()
            self._running = None
        if self._is_closing:
            status, changes = Status.QUEUED, {}
        self._transact(lambda session: rows.leave(session, claimed, status, **changes), lambda: self._is_closing)

    def _reason(self, error: Exception, until: float) -> SlimseqError:
        if time.monotonic() >= until:
            limit = f"the limit of {self._timeout_seconds:g} s"
            return EvaluationEnded(f"it exceeded {limit}; evaluate fewer or shorter texts")
        if isinstance(error, SlimseqError):
            return error
        logger.error("evaluation failed", exc_info=error)
        return answer_to(error, "the evaluation cannot be run")

    def _with_runtimes(self, claimed: Claim) -> Claim:
        task = Task(claimed.task)
        now = {each.variant: each.digest for each in self._catalogue.manifests(task)}
        changed = [name for name in claimed.variants if now.get(name) != claimed.digests[name]]
        if changed:
            raise EvaluationEnded(f"{', '.join(changed)} changed in the store since it was posted; post it again")
        # Those of the outputs that there are already.
        runtimes = claimed.runtimes or {name: self._catalogue.runtime(task, name) for name in claimed.variants}
        return replace(claimed, runtimes=runtimes)

    def _evaluate(self, claimed: Claim, process: LowPriorityProcess) -> dict[str, Any]:
        samples: list[rows.Values] = []

        def store(change: Callable[[Session], bool]) -> None:
            if not self._transact(change, lambda: process.is_killed):
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

        def known() -> Iterator[Message]:
            for start in count(step=PAGE_SAMPLES):
                page = self._transact(partial(_page, number=claimed.number, start=start), lambda: process.is_killed)
                if not page:
                    return
                yield from page

        store(lambda session: rows.record(session, claimed, runtimes=claimed.runtimes))
        return run_process(process, self._catalogue.store, claimed, known(), keep)

    def _transact(self, work: Callable[[Session], Result], is_over: Callable[[], bool]) -> Result:
        """Runs a transaction as soon as the database is there. The process waits meanwhile."""
        while True:
            try:
                return self._database.transact(work)
            except DatabaseUnavailable:
                if is_over():
                    raise
                time.sleep(RETRY_SECONDS)


def run_process(
    process: LowPriorityProcess,
    store: Store,
    claimed: Claim,
    known: Iterable[Message],
    on_message: Callable[[Message], None],
) -> dict[str, Any]:
    """Runs the process of an evaluation, and returns the results. It raises the error of the process.

    The process goes on from the samples and outputs that are `known`. What `on_message` raises ends it.
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
    samples = rows.samples_of(session, number, start, PAGE_SAMPLES)
    outputs = rows.outputs_of(session, number, start, start + PAGE_SAMPLES)
    names = [column.name for column in rows.OutputRow.__table__.columns if column.name != "evaluation"]
    return [
        *({"sample": [sample.source, sample.target]} for sample in samples),
        *({"output": {name: getattr(output, name) for name in names}} for output in outputs),
    ]
