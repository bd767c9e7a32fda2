"""Runs the queued evaluations of the database: one at a time in each service, the oldest first.

A thread of the service claims an evaluation and starts a process of low priority for it, whose program is
`slimseq.app.evaluations.child`. The thread stores the outputs that the process sends, and at last the results.

An evaluation whose service dies goes on in the next service that finds it. Its new process gets the outputs that are
stored, and generates only the others. Results are computed from all of them, so no output is missing or counts twice.
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
# How often the thread looks for evaluations that another service posted or left. `wake` announces those of this one.
POLL_SECONDS = 5.0
# Pause before a transaction is tried again.
RETRY_SECONDS = 1.0
# How long a service that stops waits until the thread has queued its evaluation again.
CLOSING_SECONDS = 1.5
# Samples that are read from the database at once.
PAGE_SAMPLES = 50

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class NotOurs(Exception):
    """Raised when an evaluation was cancelled, or another service has taken it over."""


class EvaluationRunner:
    """The thread that runs evaluations, each for at most `timeout_seconds`.

    Public methods are called on other threads than this one. The `catalogue` is for this thread alone.
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
        """Raises `ShuttingDown` if the service stops: nobody would run a further evaluation."""
        if self._is_closing:
            raise ShuttingDown()

    def kill(self, identifier: str) -> None:
        """Kills the process of this evaluation, if it runs here."""
        if self._running is None:
            return
        claimed, process = self._running
        if claimed.id == identifier:
            process.kill()

    async def close(self) -> None:
        """Ends the thread and the process. The evaluation that runs is queued again."""
        self._is_closing = True
        self.wake()
        running = self._running
        if running is not None:
            _, process = running
            process.kill()
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
                pass  # The database logs that it is down.
            except Exception:
                logger.exception("an evaluation was not run")
            self._is_awake.wait(POLL_SECONDS)
            self._is_awake.clear()

    def _run(self, claimed: Claim) -> None:
        request_id.set(claimed.request_id)
        process = LowPriorityProcess(CHILD)
        self._running = claimed, process
        if self._is_closing:
            # `close` may have been called before it could see this process. The evaluation is queued again below.
            process.kill()
        deadline = time.monotonic() + self._timeout_seconds
        timer = threading.Timer(self._timeout_seconds, process.kill)
        timer.daemon = True
        timer.start()
        changes: dict[str, Any]
        try:
            results = self._evaluate(self._with_runtimes(claimed), process)
            status = Status.SUCCEEDED
            changes = {"results": results, "progress": 1.0}
        except NotOurs:
            return
        except Exception as error:
            status = Status.FAILED
            changes = {"error": problem_of(self._shown_error(error, deadline)).model_dump()}
        finally:
            timer.cancel()
            self._running = None
        if self._is_closing:
            # The process was killed, or has just ended. The next service goes on from the stored outputs.
            status = Status.QUEUED
            changes = {}
        self._transact(lambda session: rows.leave(session, claimed, status, **changes), lambda: self._is_closing)

    def _shown_error(self, error: Exception, deadline: float) -> SlimseqError:
        """Returns the error that the evaluation shows. The text of an unexpected one is only logged."""
        # At the deadline the process was killed, which raised the error.
        if time.monotonic() >= deadline:
            limit = f"the limit of {self._timeout_seconds:g} s"
            return EvaluationEnded(f"it exceeded {limit}; evaluate fewer or shorter texts")
        if isinstance(error, SlimseqError):
            return error
        logger.error("evaluation failed", exc_info=error)
        return answer_to(error, "the evaluation cannot be run")

    def _with_runtimes(self, claimed: Claim) -> Claim:
        """Adds the runtime of each variant, after a check that no variant was replaced since the submission."""
        task = Task(claimed.task)
        digests_now = {manifest.variant: manifest.digest for manifest in self._catalogue.manifests(task)}
        changed = [name for name in claimed.variants if digests_now.get(name) != claimed.digests[name]]
        if changed:
            raise EvaluationEnded(f"{', '.join(changed)} changed in the store since it was posted; post it again")
        # An evaluation that goes on keeps the runtimes of the outputs that are stored.
        runtimes = claimed.runtimes or {name: self._catalogue.runtime(task, name) for name in claimed.variants}
        return replace(claimed, runtimes=runtimes)

    def _evaluate(self, claimed: Claim, process: LowPriorityProcess) -> dict[str, Any]:
        """Runs the process, stores the samples and outputs that it sends, and returns the results.

        Raises:
            NotOurs: the evaluation was cancelled or has another owner.
        """
        # The samples of a named data set arrive in pieces. They are stored together, once all are there.
        samples: list[rows.Values] = []

        def store(change: Callable[[Session], bool]) -> None:
            is_ours = self._transact(change, lambda: process.is_killed)
            if not is_ours:
                raise NotOurs

        def store_message(message: Message) -> None:
            match message:
                case {"samples": piece}:
                    for source, target in piece:
                        samples.append({"number": len(samples), "source": source, "target": target})
                case {"sample_count": sample_count}:
                    changes = {"are_samples_stored": True, "samples": sample_count}
                    store(lambda session: rows.record(session, claimed, rows.SampleRow, samples, **changes))
                    samples.clear()
                case {"outputs": outputs, "progress": progress}:
                    store(lambda session: rows.record(session, claimed, rows.OutputRow, outputs, progress=progress))

        def stored_messages() -> Iterator[Message]:
            for start in count(step=PAGE_SAMPLES):
                read_page = partial(_stored_page, number=claimed.number, start=start)
                page = self._transact(read_page, lambda: process.is_killed)
                if not page:
                    return
                yield from page

        store(lambda session: rows.record(session, claimed, runtimes=claimed.runtimes))
        return run_process(process, self._catalogue.store, claimed, stored_messages(), store_message)

    def _transact(self, work: Callable[[Session], Result], is_over: Callable[[], bool]) -> Result:
        """Runs a transaction, again and again while the database is down, until `is_over` says that it is useless.

        The process of the evaluation waits meanwhile: nobody reads what it writes.
        """
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
    stored: Iterable[Message],
    on_message: Callable[[Message], None],
) -> dict[str, Any]:
    """Runs the process of an evaluation to its end, and returns the results.

    Args:
        process: not started yet.
        store: holds the variants.
        claimed: the evaluation.
        stored: the samples and outputs that the process need not make again, as its messages.
        on_message: is called with each message but the last one. An exception of it ends the process.

    Raises:
        EvaluationEnded: the process was not started, crashed, or was killed.
        InternalError: the process raised an unexpected exception, which is logged.
        SlimseqError: the process raised it.
    """

    def messages() -> Iterator[object]:
        yield {"store": store_address(store), "evaluation": asdict(claimed)}
        yield from stored
        yield None

    try:
        if not process.send(messages()):
            raise EvaluationEnded("its process was not started")
        while (message := process.receive()) is not None:
            match message:
                case {"result": dict(result)}:
                    return result
                case {"error": name, "detail": detail}:
                    raise named_error(name, detail)
                case {"crash": trace}:
                    logger.error("evaluation failed", extra={"exception": trace})
                    raise InternalError()
            on_message(message)
        raise EvaluationEnded(_how_it_ended(process.wait()))
    finally:
        process.end()


def _how_it_ended(exit_code: int) -> str:
    if exit_code >= 0:
        return f"its process ended with exit code {exit_code}; see the log of the service"
    # A negative exit code is the number of the signal that ended the process.
    name = signal.Signals(-exit_code).name
    if -exit_code == signal.SIGKILL:
        return f"its process was killed ({name}), probably for lack of memory; evaluate fewer or shorter texts"
    return f"its process crashed ({name})"


def _stored_page(session: Session, number: int, start: int) -> list[Message]:
    """Returns a page of samples, and the outputs for them, as messages to the process. Empty after the last sample."""
    samples = rows.find_samples(session, number, start, PAGE_SAMPLES)
    outputs = rows.find_outputs(session, number, start, start + PAGE_SAMPLES)
    names = [column.name for column in rows.OutputRow.__table__.columns if column.name != "evaluation"]
    messages: list[Message] = [{"sample": [sample.source, sample.target]} for sample in samples]
    for output in outputs:
        messages.append({"output": {name: getattr(output, name) for name in names}})
    return messages
