import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from slimseq.app.http.middleware.failure import FailureMiddleware
from slimseq.models_store.errors import CorruptArtifact
from tests.app.http.middleware.asgi import Connection


def failing(error: Exception) -> Connection:
    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    async def run() -> Connection:
        connection = Connection()
        await connection.call(FailureMiddleware(route))
        return connection

    return asyncio.run(run())


def test_a_known_error_becomes_its_problem() -> None:
    connection = failing(CorruptArtifact("translation/original", "onnx/decoder.onnx", "is missing"))

    assert connection.status == 503 and connection.headers["content-type"] == "application/problem+json"
    assert connection.json["type"] == "/problems/corrupt-artifact"
    assert connection.scope["state"]["problem"] == "corrupt-artifact"


def test_an_unexpected_exception_is_logged_and_its_text_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        connection = failing(ValueError("the password is hunter2"))

    assert connection.status == 500 and connection.json["type"] == "/problems/internal-error"
    assert "hunter2" not in str(connection.json) and "hunter2" in caplog.text


def test_a_request_that_is_cancelled_at_the_end_of_a_shutdown_gets_an_answer() -> None:
    async def run() -> Connection:
        has_begun = asyncio.Event()

        async def route(scope: Scope, receive: Receive, send: Send) -> None:
            has_begun.set()
            await asyncio.sleep(60)

        connection = Connection()
        request = asyncio.ensure_future(connection.call(FailureMiddleware(route)))
        await has_begun.wait()
        request.cancel()
        await request
        return connection

    connection = asyncio.run(run())

    assert connection.status == 503 and connection.json["type"] == "/problems/shutting-down"


def test_a_stream_that_is_cancelled_at_the_end_of_a_shutdown_ends_with_an_error_event() -> None:
    async def run() -> Connection:
        has_begun = asyncio.Event()

        async def events() -> AsyncIterator[str]:
            yield "event: token\ndata: {}\n\n"
            has_begun.set()
            await asyncio.sleep(60)

        connection = Connection()
        streaming = FailureMiddleware(StreamingResponse(events(), media_type="text/event-stream"))
        request = asyncio.ensure_future(connection.call(streaming))
        await has_begun.wait()
        request.cancel()
        await request
        return connection

    connection = asyncio.run(run())

    last = connection.sent[-1]
    assert connection.status == 200 and not last["more_body"]
    assert last["body"].startswith(b"event: error\n") and b"/problems/shutting-down" in last["body"]
