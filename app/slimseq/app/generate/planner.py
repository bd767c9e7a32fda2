"""Runs the work on texts before and after generation. Short work runs on the event loop, longer work on a thread.

The work on a sentence takes less time than a switch to a thread and back. The work on an article takes longer: it would
be a third of what the event loop does for a summary (`python -m benchmarks.request_time`).

CPython switches between threads every 5 ms, so that these few threads delay the event loop by little. The work is a
plain function. It calls a check between texts and lines, which ends the work of a cancelled or expired request.

`planning_size`, `passes_size` and `answer_size` estimate how long work takes. `run_passes` generates further passes.
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

# Maximum sizes of short work.
# Plain characters, such as a few sentences. Planning them takes about 0.2 ms.
SHORT_CHARACTERS = 500
# Characters of HTML or Markdown. Reading or writing them takes at most 30 ms.
SHORT_MARKUP_CHARACTERS = 500
# Characters of sources and outputs together. Checking the outputs takes about 0.2 ms.
SHORT_CHECKED_CHARACTERS = 1000
# Rows (sentences). Checking their outputs takes a few milliseconds.
SHORT_ROWS = 32

# Maximum sizes of middle work: plain characters, such as an article, and characters of sources and outputs together.
# Planning takes about a millisecond, checking about two.
MIDDLE_CHARACTERS = 4000
MIDDLE_CHECKED_CHARACTERS = 8000

# Maximum characters of work of the usual size. Planning them takes about 0.1 s.
USUAL_CHARACTERS = 50_000

# Rows whose further passes run side by side. A row may need 34 rows in a pass (its parts). Encoding and queueing the
# rows of a pass of 512 takes 24 ms.
ROWS_TOGETHER = 512

# Maximum number of requests in preparation, whose work is of the usual size or long. With a million characters each,
# they take about two minutes in all.
MAX_REQUESTS = 64
RETRY_AFTER_SECONDS = 5


class WorkSize(Enum):
    """How long work takes. Short work runs on the calling thread, the other sizes have a thread each."""

    SHORT = "short"
    # It takes about a millisecond, and does not wait for longer work.
    MIDDLE = "middle"
    USUAL = "usual"
    # It may take seconds. The usual work does not wait for it.
    LONG = "long"


def planning_size(prompt: Prompt) -> WorkSize:
    """Returns how long it takes to plan a prompt."""
    is_plain = prompt.format == "text"
    short = SHORT_CHARACTERS if is_plain else SHORT_MARKUP_CHARACTERS
    # Terms are searched in every sentence, and a named glossary may have to be read from its file.
    has_terms = bool(prompt.glossary or prompt.keep)
    if prompt.long_input == "truncate" and not has_terms:
        if prompt.characters <= short:
            return WorkSize.SHORT
        if is_plain and prompt.characters <= MIDDLE_CHARACTERS:
            return WorkSize.MIDDLE
    if prompt.characters <= USUAL_CHARACTERS:
        return WorkSize.USUAL
    return WorkSize.LONG


def passes_size(planned: Plan, rows: Sequence[int]) -> WorkSize:
    """Returns how long it takes to check the outputs of rows and to plan their further passes."""
    with_passes = [row for row in rows if row in planned.passes]
    outputs = len(with_passes) * planned.options.num_return_sequences
    # A sentence above the context window may have any length, and one with markup many elements.
    has_long_row = any(planned.rows[row].is_truncated for row in with_passes)
    has_terms = bool(planned.prompt.glossary or planned.prompt.keep)
    if outputs > SHORT_ROWS or has_long_row or has_terms or not _has_little_markup(planned):
        return WorkSize.USUAL
    return WorkSize.SHORT


def answer_size(planned: Plan, rows: Sequence[TextOutput]) -> WorkSize:
    """Returns how long it takes to assemble and check outputs."""
    characters = planned.prompt.characters + sum(len(row.text) for row in rows)
    outputs = planned.options.num_return_sequences
    has_little_markup = _has_little_markup(planned) and (planned.documents is None or outputs == 1)
    if has_little_markup and characters * outputs <= SHORT_CHECKED_CHARACTERS:
        return WorkSize.SHORT
    if has_little_markup and characters * outputs <= MIDDLE_CHECKED_CHARACTERS:
        return WorkSize.MIDDLE
    return WorkSize.USUAL


def _has_little_markup(planned: Plan) -> bool:
    return planned.documents is None or planning_size(planned.prompt) is WorkSize.SHORT


class NotAwaited(Exception):
    """Nobody waits for the result of the work any more."""


class Planner:
    """A thread for each size of work. Used from the event loop."""

    def __init__(self) -> None:
        self._threads: dict[WorkSize, ThreadPoolExecutor] = {
            size: ThreadPoolExecutor(1, f"planner {size.value}") for size in WorkSize if size is not WorkSize.SHORT
        }
        self._running = 0
        self._is_closing = threading.Event()

    async def run(
        self, work: Callable[[Check], Result], size: WorkSize, due: Due | None = None, *, is_new: bool = False
    ) -> Result:
        """Runs work until it is due. It should call the check that it gets: work that is cancelled ends there.

        Only the first work of a request, which `is_new`, may be refused. Once something is generated, nothing is.
        """
        try:
            if size is WorkSize.SHORT:
                return work(unchecked)
            return await self._run_on_thread(work, size, due, is_new)
        except BaseException as error:
            if is_panic(error):
                raise LibraryPanic(error) from error
            raise

    async def _run_on_thread(
        self, work: Callable[[Check], Result], size: WorkSize, due: Due | None, is_new: bool
    ) -> Result:
        # Middle work is done sooner than a refused client would come back.
        is_limited = size is not WorkSize.MIDDLE
        if is_new and is_limited and self._running >= MAX_REQUESTS:
            raise Overloaded(f"the texts of {self._running} requests are being prepared", RETRY_AFTER_SECONDS)
        is_cancelled = threading.Event()

        def check() -> None:
            if is_cancelled.is_set() or self._is_closing.is_set():
                raise NotAwaited

        self._running += is_limited
        try:
            async with due.limited() if due else contextlib.nullcontext():
                return await asyncio.get_running_loop().run_in_executor(self._threads[size], work, check)
        finally:
            is_cancelled.set()
            self._running -= is_limited

    def close(self) -> None:
        self._is_closing.set()
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)


async def run_passes(
    passes: RowPasses, worker: RequestQueue, outputs: Iterable[tuple[int, TextOutput]], due: Due, planner: Planner
) -> tuple[float, float]:
    """Generates the further passes of rows, given the outputs of their first pass by row.

    The rows of a pass are generated as those of the first one were: by the same queue, with the same options.

    Returns:
        Seconds in the queue, and seconds of inference, of all further passes.
    """
    queue_seconds = inference_seconds = 0.0
    remaining = iter(outputs)
    while group := list(islice(remaining, ROWS_TOGETHER)):
        size = passes_size(passes.plan, [row for row, _ in group])
        rows = await planner.run(partial(passes.begin, group), size)
        while rows:
            request = QueuedRequest(rows, passes.plan.options, due, has_equal_rows=True, is_admitted=True)
            further = await worker.wait(worker.submit(request))
            queue_seconds += further.queue_seconds
            inference_seconds += further.inference_seconds
            rows = await planner.run(partial(passes.go_on, further.outputs), size)
    return queue_seconds, inference_seconds
