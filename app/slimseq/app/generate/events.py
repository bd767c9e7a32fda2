"""Server-Sent Events of one generation: a `token` event for each piece, then `done` with the response, or `error`.

A worker thread reports tokens and complete rows; the event loop assembles and sends them. The further passes of a row
start as soon as its first pass has ended, so that a sentence whose spans have to be repaired delays the sentences after
it by its own passes only.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
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

# A token, the output of a row, or the further passes of a row that have ended.
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
        # The final outputs of rows with passes, the rows whose passes have not ended, and the tasks that run them.
        self._outputs: dict[int, TextOutput] = {}
        self._repairing: set[int] = set()
        self._tasks: dict[Hashable, asyncio.Task[TextOutput]] = {}
        self._repaired_at = 0.0

    def on_token(self, row: int, received: int | TextOutput) -> None:
        # The loop may have ended while a row was running.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._received.put_nowait, (row, received))

    on_row = on_token

    async def events(
        self,
        request: QueuedRequest,
        answer: Callable[[Generated], Awaitable[GenerationResponse]],
        on_failure: Callable[[SlimseqError], None],
    ) -> AsyncGenerator[bytes]:
        """Yields the events of a request, whose listener is this stream. To close the generator early abandons it.

        Raises:
            SlimseqError: it failed before the first piece. Later failures become an `error` event.
        """
        has_started = False
        request.future.add_done_callback(lambda _: self._received.put_nowait(None))
        try:
            async with self._due.limited():
                pieces = await self._begin()
            is_generating = True
            while True:
                for piece in pieces:
                    has_started = True
                    yield event("token", piece)
                if not is_generating and not self._repairing:
                    break
                async with self._due.limited():
                    received = await self._received.get()
                    pieces = await self._pieces(*received) if received else []
                is_generating = is_generating and received is not None
            response = await answer(self._repaired(await request.future))
            has_started = True
            yield event("done", response)
        except ENDINGS:
            raise
        except BaseException as error:
            # Tokens are decoded here, which may end with a panic.
            problem = _known(error)
            if not has_started:
                raise problem from error
            on_failure(problem)
            yield event("error", problem_of(problem))
        finally:
            for task in self._tasks.values():
                task.cancel()
                # Nobody reads its errors.
                task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            self._worker.abandon(request)

    async def _pieces(self, row: int, received: Received) -> list[TextPiece]:
        """Returns the pieces to send once a token, an output or the final output of a row is there."""
        if isinstance(received, int):
            return self._assembly.on_token(row, received)
        if isinstance(received, asyncio.Task):
            self._repairing.discard(row)
            self._repaired_at = time.monotonic()
            received = self._outputs[row] = received.result()
        elif row in self._planned.passes:
            self._repair(row, received)
            return []
        if isinstance(self._assembly, DocumentAssembly):
            self._assembly.add(row, received)
            return await self._begin()
        return self._assembly.on_row(row, received)

    async def _begin(self) -> list[TextPiece]:
        """Returns the pieces that can be sent, at first those that need no rows. Sections are written on a thread."""
        if not isinstance(self._assembly, DocumentAssembly):
            return self._assembly.begin()
        is_complete = self._assembly.is_next_complete
        return await self._planner.run(self._assembly.write, WorkSize.USUAL) if is_complete else []

    def _repair(self, row: int, output: TextOutput) -> None:
        """Starts the further passes of a row. Equal sentences share theirs, unless they are sampled."""
        segment = self._segments[row]
        sentence = row if self._planned.options.do_sample else (segment.text, segment.spans, segment.elements)
        if sentence not in self._tasks:
            self._tasks[sentence] = asyncio.create_task(self._final_output(row, output))
        self._repairing.add(row)
        self._tasks[sentence].add_done_callback(lambda ended: self._received.put_nowait((row, ended)))

    async def _final_output(self, row: int, output: TextOutput) -> TextOutput:
        passes = RowPasses(self._generator, self._planned)
        await run_passes(passes, self._worker, [(row, output)], self._due, self._planner)
        return passes.outputs[row]

    def _repaired(self, generated: Generated) -> Generated:
        """Returns the final outputs in place of those of the first passes."""
        outputs = [self._outputs.get(row, output) for row, output in enumerate(generated.outputs)]
        inference_seconds = max(generated.inference_seconds, self._repaired_at - generated.begun)
        return replace(generated, outputs=outputs, inference_seconds=inference_seconds)


def _known(error: BaseException) -> SlimseqError:
    if isinstance(error, SlimseqError):
        return error
    logger.error("unexpected exception in a stream", exc_info=error)
    return answer_to(error, "the request cannot be answered")
