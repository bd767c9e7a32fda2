"""Runs the work on texts before and after generation. Short work runs on the event loop, longer work on a thread.

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
# Plain characters. Planning them takes about a millisecond, as does the switch to another thread when cores are busy.
SHORT_CHARACTERS = 4000
# Characters of HTML or Markdown. Reading or writing them takes at most 30 ms.
SHORT_MARKUP_CHARACTERS = 500
# Characters of sources and outputs together. Checking the outputs takes about 2 ms.
SHORT_CHECKED_CHARACTERS = 8000
# Rows (sentences). Checking their outputs takes a few milliseconds.
SHORT_ROWS = 32

# Maximum characters of work of the usual size. Planning them takes about 0.1 s.
USUAL_CHARACTERS = 50_000

# Rows whose further passes run side by side. A row may need 34 rows in a pass (its parts). Encoding and queueing the
# rows of a pass of 512 takes 24 ms.
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
    """Returns how long it takes to plan a prompt."""
    short = SHORT_CHARACTERS if prompt.format == "text" else SHORT_MARKUP_CHARACTERS
    # Terms are searched in every sentence, and a named glossary may have to be read from its file.
    has_terms = bool(prompt.glossary or prompt.keep)
    if prompt.long_input == "truncate" and prompt.characters <= short and not has_terms:
        return WorkSize.SHORT
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
    has_few_characters = characters * outputs <= SHORT_CHECKED_CHARACTERS
    has_little_markup = _has_little_markup(planned) and (planned.documents is None or outputs == 1)
    return WorkSize.SHORT if has_few_characters and has_little_markup else WorkSize.USUAL


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
