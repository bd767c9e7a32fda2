"""Server-Sent Events of one generation: a `token` event for each piece, then `done` with the response, or `error`.

A worker thread reports tokens and complete rows. The event loop assembles them to pieces of the outputs and sends them.
A row (a sentence or a part of a document) may need further passes to bring its protected spans, such as numbers, into
its output. They start as soon as its first pass has ended. So a row delays the rows after it by its own passes only.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from fastapi.sse import format_sse_event
from pydantic_core import to_json

from slimseq.app.failures import ENDINGS, answer_to
from slimseq.app.generate.planner import Planner, WorkSize, run_passes
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.http.problems import problem_of
from slimseq.app.serving.batching.request import Due, Generated, QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.assembly import DocumentAssembly, TextPiece, new_assembly
from slimseq.inference.text.rows import Plan, RowPasses
from slimseq.models_store.errors import SlimseqError

logger = logging.getLogger(__name__)

# What the stream receives about a row: a token, the output of its first pass, or the ended task of its further passes.
Received = int | TextOutput | asyncio.Task[TextOutput]


def event(name: str, data: object) -> bytes:
    return format_sse_event(event=name, data_str=to_json(data, exclude_none=True).decode())


@dataclass(eq=False)
class EventStream:
    """The events of one plan. It listens to the rows of the plan on the generating thread."""

    _worker: RequestQueue
    _generator: TextGenerator
    _planned: Plan
    _due: Due
    _planner: Planner

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received: asyncio.Queue[tuple[int, Received] | None] = asyncio.Queue()
        self._assembly = new_assembly(self._generator, self._planned)
        self._segments = [segment for text in self._planned.texts for segment in text.segments]
        # The final outputs of rows that had further passes.
        self._final_outputs: dict[int, TextOutput] = {}
        # The rows whose further passes have not ended.
        self._in_further_passes: set[int] = set()
        # The tasks that run further passes: one for each row, or for all rows of equal sentences.
        self._tasks: dict[Hashable, asyncio.Task[TextOutput]] = {}
        # `time.monotonic()` when the last further passes ended.
        self._passes_ended = 0.0

    def on_token(self, row: int, received: int | TextOutput) -> None:
        # At a shutdown, the loop may have ended while a row was running.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._received.put_nowait, (row, received))

    on_row = on_token

    async def events(
        self,
        request: QueuedRequest,
        answer: Callable[[Generated], Awaitable[GenerationResponse]],
        on_failure: Callable[[SlimseqError], None],
    ) -> AsyncGenerator[bytes]:
        """Yields the events of a request, whose listener is this stream. Closing it early abandons the request.

        Raises:
            SlimseqError: the request failed before the first piece. Later failures become an `error` event.
        """
        has_started = False
        # None: the first passes of all rows have ended.
        request.future.add_done_callback(lambda _: self._received.put_nowait(None))
        try:
            async with self._due.limited():
                pieces = await self._begin()
            is_generating = True
            while True:
                for piece in pieces:
                    has_started = True
                    yield event("token", piece)
                if not is_generating and not self._in_further_passes:
                    break
                async with self._due.limited():
                    received = await self._received.get()
                    pieces = await self._pieces(*received) if received else []
                is_generating = is_generating and received is not None
            response = await answer(self._with_final_outputs(await request.future))
            has_started = True
            yield event("done", response)
        except ENDINGS:
            raise
        except BaseException as error:
            # Tokens are decoded here, which may end with a panic.
            problem = _as_slimseq_error(error)
            if not has_started:
                raise problem from error
            on_failure(problem)
            yield event("error", problem_of(problem))
        finally:
            for task in self._tasks.values():
                task.cancel()
                # Reads the task's error, which asyncio would log as never retrieved.
                task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            self._worker.abandon(request)

    async def _pieces(self, row: int, received: Received) -> list[TextPiece]:
        """Returns the pieces to send once a token, an output or the final output of a row is there."""
        if isinstance(received, int):
            return self._assembly.on_token(row, received)
        if isinstance(received, asyncio.Task):
            self._in_further_passes.discard(row)
            self._passes_ended = time.monotonic()
            received = received.result()
            self._final_outputs[row] = received
        elif row in self._planned.passes:
            self._start_further_passes(row, received)
            return []
        if isinstance(self._assembly, DocumentAssembly):
            self._assembly.add(row, received)
            return await self._begin()
        return self._assembly.on_row(row, received)

    async def _begin(self) -> list[TextPiece]:
        """Returns pieces to send: first the ones that need no rows, later the complete sections of a document.

        A thread writes the sections, since their markup takes long.
        """
        if not isinstance(self._assembly, DocumentAssembly):
            return self._assembly.begin()
        if not self._assembly.is_next_complete:
            return []
        return await self._planner.run(self._assembly.write, WorkSize.USUAL)

    def _start_further_passes(self, row: int, output: TextOutput) -> None:
        """Starts the further passes of a row. Equal sentences share theirs, unless they are sampled."""
        segment = self._segments[row]
        key: Hashable = row
        if not self._planned.options.do_sample:
            key = (segment.text, segment.spans, segment.elements)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._run_further_passes(row, output))
        self._in_further_passes.add(row)
        self._tasks[key].add_done_callback(lambda ended: self._received.put_nowait((row, ended)))

    async def _run_further_passes(self, row: int, output: TextOutput) -> TextOutput:
        passes = RowPasses(self._generator, self._planned)
        await run_passes(passes, self._worker, [(row, output)], self._due, self._planner)
        return passes.outputs[row]

    def _with_final_outputs(self, generated: Generated) -> Generated:
        """Puts the final outputs of rows in place of the outputs of their first passes."""
        outputs = [self._final_outputs.get(row, output) for row, output in enumerate(generated.outputs)]
        inference_seconds = max(generated.inference_seconds, self._passes_ended - generated.begun)
        return replace(generated, outputs=outputs, inference_seconds=inference_seconds)


def _as_slimseq_error(error: BaseException) -> SlimseqError:
    if isinstance(error, SlimseqError):
        return error
    logger.error("unexpected exception in a stream", exc_info=error)
    return answer_to(error, "the request cannot be answered")


async def with_first(first: bytes, events: AsyncGenerator[bytes], held: AsyncExitStack) -> AsyncIterator[bytes]:
    """Yields the first event and the others. `held` is released at their end or when the client disconnects."""
    async with held, contextlib.aclosing(events):
        yield first
        async for each in events:
            yield each
