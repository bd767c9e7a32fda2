"""Runs the work on texts, before and after generation, on threads where it takes long, so that the event loop is free.

CPython switches between threads every 5 ms, so these few threads delay the event loop by little. The work is a plain
function. It calls a check between texts and lines, which ends the work of a cancelled or expired request.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
from itertools import islice
from typing import TypeVar

from slimseq.app.errors import Overloaded
from slimseq.app.failures import LibraryPanic, is_panic
from slimseq.app.serving.batching.request import Due, QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.rows import Plan, Prompt, RowPasses
from slimseq.inference.text.sentences import Check, unchecked

Result = TypeVar("Result")

# Planning so few takes about a millisecond, as does the switch to another thread when cores are busy.
SHORT_CHARACTERS = 4000
# To read so many with markup, or to write them, takes at most 30 milliseconds.
SHORT_MARKUP_CHARACTERS = 500
# Planning so few takes about 0.1 s.
USUAL_CHARACTERS = 50_000
# Of sources and outputs together. To check so many takes about 2 ms.
SHORT_CHECKED_CHARACTERS = 8000
# To check the outputs of so many sentences takes a few milliseconds.
SHORT_ROWS = 32

# Rows whose further passes run side by side. A pass may have 34 rows for each, so that to encode and queue those of 512
# takes 24 ms.
ROWS_TOGETHER = 512

# Maximum number of requests in preparation. With a million characters each, they take about two minutes in all.
MAX_REQUESTS = 64
RETRY_AFTER_SECONDS = 5


class WorkSize(Enum):
    """How long work takes: a few milliseconds on the calling thread, or longer on one of the planner's threads."""

    SHORT = "short"
    USUAL = "usual"
    # It may take seconds. The usual work does not wait for it.
    LONG = "long"


def planning_size(prompt: Prompt) -> WorkSize:
    short = SHORT_CHARACTERS if prompt.format == "text" else SHORT_MARKUP_CHARACTERS
    if prompt.long_input == "truncate" and prompt.characters <= short and not (prompt.glossary or prompt.keep):
        return WorkSize.SHORT
    return WorkSize.USUAL if prompt.characters <= USUAL_CHARACTERS else WorkSize.LONG


def passes_size(planned: Plan, rows: Sequence[int]) -> WorkSize:
    """Returns how long it takes to check the outputs of rows and to plan their further passes."""
    protected = [row for row in rows if row in planned.passes]
    # A sentence above the context window may have any length, and one with markup many elements.
    outputs = len(protected) * planned.options.num_return_sequences
    is_long = outputs > SHORT_ROWS or any(planned.rows[row].is_truncated for row in protected)
    is_long = is_long or bool(planned.prompt.glossary or planned.prompt.keep)
    return WorkSize.USUAL if is_long or not _has_little_markup(planned) else WorkSize.SHORT


def answer_size(planned: Plan, rows: Sequence[TextOutput]) -> WorkSize:
    """Returns how long it takes to assemble and check outputs."""
    characters = planned.prompt.characters + sum(len(row.text) for row in rows)
    outputs = planned.options.num_return_sequences
    is_short = _has_little_markup(planned) and (planned.documents is None or outputs == 1)
    return WorkSize.SHORT if is_short and characters * outputs <= SHORT_CHECKED_CHARACTERS else WorkSize.USUAL


def _has_little_markup(planned: Plan) -> bool:
    return planned.documents is None or planning_size(planned.prompt) is WorkSize.SHORT


class NotAwaited(Exception):
    """Nobody waits for the result of the work any more."""


class Planner:
    """A thread for each size of work. Used from the event loop."""

    def __init__(self) -> None:
        self._threads = {
            size: ThreadPoolExecutor(1, f"planner {size.value}") for size in (WorkSize.USUAL, WorkSize.LONG)
        }
        self._running = 0
        self._is_closing = threading.Event()

    async def run(
        self, work: Callable[[Check], Result], size: WorkSize, due: Due | None = None, *, is_new: bool = False
    ) -> Result:
        """Runs work until it is due. It should call the check that it gets: work that is cancelled ends there.

        Only the first work of a request, which `is_new`, may be refused: what is already generated never is.
        """
        try:
            return work(unchecked) if size is WorkSize.SHORT else await self._run_on_thread(work, size, due, is_new)
        except BaseException as error:
            if is_panic(error):
                raise LibraryPanic(error) from error
            raise

    async def _run_on_thread(
        self, work: Callable[[Check], Result], size: WorkSize, due: Due | None, is_new: bool
    ) -> Result:
        if is_new and self._running >= MAX_REQUESTS:
            raise Overloaded(f"the texts of {self._running} requests are being prepared", RETRY_AFTER_SECONDS)
        is_cancelled = threading.Event()

        def check() -> None:
            if is_cancelled.is_set() or self._is_closing.is_set():
                raise NotAwaited

        self._running += 1
        try:
            async with due.limited() if due else contextlib.nullcontext():
                return await asyncio.get_running_loop().run_in_executor(self._threads[size], work, check)
        finally:
            is_cancelled.set()
            self._running -= 1

    def close(self) -> None:
        self._is_closing.set()
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)


async def run_passes(
    passes: RowPasses, worker: RequestQueue, outputs: Iterable[tuple[int, TextOutput]], due: Due, planner: Planner
) -> tuple[float, float]:
    """Generates the further passes of rows, given their first outputs. Returns the seconds in queue and inference.

    The rows of a pass are generated as those of the first one were: by the same queue, with the same options.
    """
    queue_seconds = inference_seconds = 0.0
    left = iter(outputs)
    while first := list(islice(left, ROWS_TOGETHER)):
        size = passes_size(passes.plan, [row for row, _ in first])
        rows = await planner.run(partial(passes.begin, first), size)
        while rows:
            request = QueuedRequest(rows, passes.plan.options, due, has_equal_rows=True, is_admitted=True)
            further = await worker.wait(worker.submit(request))
            queue_seconds += further.queue_seconds
            inference_seconds += further.inference_seconds
            rows = await planner.run(partial(passes.go_on, further.outputs), size)
    return queue_seconds, inference_seconds
