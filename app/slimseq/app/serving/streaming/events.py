"""Server-Sent Events of one generation: a `token` event for each piece, then `done` with the response, or `error`.

A worker thread reports tokens and complete rows; the event loop assembles and sends them. Rows of sentences with
protected spans are sent after their last pass.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

from fastapi.sse import format_sse_event
from pydantic_core import to_json

from slimseq.app.errors import DeadlineExceeded, InternalError
from slimseq.app.http.problems import problem_of
from slimseq.app.http.schemas.generation import GenerationResponse
from slimseq.app.serving.batching.request import Generated, QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.app.serving.streaming.assembly import Piece, PieceSource
from slimseq.app.serving.streaming.passes import StreamedPasses
from slimseq.app.serving.terms import Due
from slimseq.inference.generator import TextOutput
from slimseq.models_store.errors import SlimseqError

logger = logging.getLogger(__name__)


def event(name: str, data: object) -> bytes:
    """Returns one Server-Sent Event with JSON data."""
    return format_sse_event(event=name, data_str=to_json(data, exclude_none=True).decode())


# A token, the output of a row, or the further passes of a row that have ended.
Received = int | TextOutput | asyncio.Task[TextOutput]


class TokenRelay:
    """Listens to a request on the generating thread, and passes tokens and rows to the event loop in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received: asyncio.Queue[tuple[int, Received] | None] = asyncio.Queue()

    def on_token(self, row: int, token: int) -> None:
        """Receives a token."""
        self._pass_on(row, token)

    def on_row(self, row: int, output: TextOutput) -> None:
        """Receives a complete row."""
        self._pass_on(row, output)

    def follow(self, request: QueuedRequest) -> None:
        """Receives the end of a request, after all of its tokens and rows."""
        request.future.add_done_callback(lambda _: self._received.put_nowait(None))

    def put(self, row: int, passes: asyncio.Task[TextOutput]) -> None:
        """Receives the ended further passes of a row, on the event loop."""
        self._received.put_nowait((row, passes))

    async def next(self, due: Due) -> tuple[int, Received] | None:
        """Returns the row and the token or output that came next, or None at the end.

        Raises:
            TimeoutError: nothing came before the deadline.
        """
        if not self._received.empty():
            return self._received.get_nowait()
        return await asyncio.wait_for(self._received.get(), due.seconds_left)

    def _pass_on(self, row: int, received: int | TextOutput) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._received.put_nowait, (row, received))


async def generation_events(
    worker: RequestQueue,
    request: QueuedRequest,
    relay: TokenRelay,
    assembly: PieceSource,
    passes: StreamedPasses,
    answer: Callable[[Generated], Awaitable[GenerationResponse]],
    on_failure: Callable[[SlimseqError], None],
) -> AsyncGenerator[bytes]:
    """Yields the events of a request. To close the generator early abandons the request.

    Args:
        worker: the queue that the request was submitted to.
        request: the request.
        relay: its listener.
        assembly: turns tokens and rows into pieces of text.
        passes: runs the further passes of rows.
        answer: makes the final response.
        on_failure: called with a failure that becomes an `error` event.

    Raises:
        SlimseqError: it failed before the first piece. Later failures become an `error` event.
    """
    has_started = False
    relay.follow(request)
    try:
        async with asyncio.timeout(request.due.seconds_left):
            pieces = await assembly.begin()
        is_generating = True
        while True:
            for piece in pieces:
                has_started = True
                yield event("token", piece)
            if not is_generating and not passes.running:
                break
            received = await relay.next(request.due)
            is_generating = is_generating and received is not None
            async with asyncio.timeout(request.due.seconds_left):
                pieces = await _pieces(assembly, passes, relay, *received) if received else []
        generated = passes.completed(await request.future)
        response = await answer(generated)
        has_started = True
        yield event("done", response)
    except Exception as error:
        problem = _known(error, request)
        if not has_started:
            raise problem from error
        on_failure(problem)
        yield event("error", problem_of(problem))
    finally:
        passes.close()
        worker.abandon(request)


async def _pieces(
    assembly: PieceSource, passes: StreamedPasses, relay: TokenRelay, row: int, received: Received
) -> list[Piece]:
    if isinstance(received, int):
        return await assembly.add(row, received)
    if isinstance(received, asyncio.Task):
        return await assembly.add(row, passes.ended(row, received))
    output = passes.first(row, received, relay.put)
    return [] if output is None else await assembly.add(row, output)


def _known(error: Exception, request: QueuedRequest) -> SlimseqError:
    if isinstance(error, SlimseqError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(request.due.seconds)
    logger.error("unexpected exception in a stream", exc_info=error)
    return InternalError()
