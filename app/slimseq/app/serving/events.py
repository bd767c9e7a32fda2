"""Server-Sent Events of one generation: a `token` event a piece, then `done` with the whole answer, or `error`.

The worker's thread tells tokens and rows, this side of the event loop assembles and sends them.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable

from slimseq.app.errors import DeadlineExceeded, InternalError
from slimseq.app.http.problems import problem_of
from slimseq.app.http.schemas.generation import GenerationResponse
from slimseq.app.serving.assembly import Assembly, Piece
from slimseq.app.serving.request import Generated, QueuedRequest
from slimseq.app.serving.request_queue import RequestQueue
from slimseq.inference.generator import TextOutput
from slimseq.models_store.errors import SlimseqError

MEDIA_TYPE = "text/event-stream"

logger = logging.getLogger(__name__)


def event(name: str, data: object) -> str:
    """Returns one event, its data as JSON."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


class TokenRelay:
    """Carries what a submission's listener hears from the generating thread to the event loop, in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Queue[tuple[int, int | TextOutput] | None] = asyncio.Queue()

    def on_token(self, row: int, token: int) -> None:
        """Hears a token."""
        self._carry(row, token)

    def on_row(self, row: int, output: TextOutput) -> None:
        """Hears a complete row."""
        self._carry(row, output)

    def follow(self, request: QueuedRequest) -> None:
        """Hears the end of a submission, after all of its tokens and rows."""
        request.future.add_done_callback(lambda _: self._heard.put_nowait(None))

    async def next(self, deadline: float) -> tuple[int, int | TextOutput] | None:
        """Returns what was heard next, or None at the end.

        Raises:
            TimeoutError: nothing came before the deadline.
        """
        if not self._heard.empty():
            return self._heard.get_nowait()
        return await asyncio.wait_for(self._heard.get(), max(deadline - time.monotonic(), 0))

    def _carry(self, row: int, heard: int | TextOutput) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._heard.put_nowait, (row, heard))


async def generation_events(
    worker: RequestQueue,
    request: QueuedRequest,
    relay: TokenRelay,
    assembly: Assembly,
    answer: Callable[[Generated], GenerationResponse],
) -> AsyncGenerator[str]:
    """Yields a submission's events; leaving early abandons it.

    Args:
        worker: where it was submitted.
        request: what to follow.
        relay: its listener.
        assembly: makes pieces of what the relay hears.
        answer: makes the final answer.

    Raises:
        SlimseqError: it failed before the first piece. Later failures become an `error` event.
    """
    has_started = False
    relay.follow(request)
    try:
        while (heard := await relay.next(request.deadline)) is not None:
            for piece in _pieces(assembly, *heard):
                has_started = True
                yield event("token", {"index": piece.index, "text": piece.text})
        generated = await request.future
        has_started = True
        yield event("done", answer(generated).model_dump(mode="json"))
    except Exception as error:
        problem = _known(error, request)
        if not has_started:
            raise problem from error
        yield event("error", problem_of(problem).model_dump())
    finally:
        worker.abandon(request)


def _pieces(assembly: Assembly, row: int, heard: int | TextOutput) -> list[Piece]:
    return assembly.on_row(row, heard) if isinstance(heard, TextOutput) else assembly.on_token(row, heard)


def _known(error: Exception, request: QueuedRequest) -> SlimseqError:
    if isinstance(error, SlimseqError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(request.seconds)
    logger.error("unexpected exception in a stream", exc_info=error)
    return InternalError()
