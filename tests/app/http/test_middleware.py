import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from slimseq.app.http.body import BodyReader
from slimseq.app.http.keyring import KeyRing
from slimseq.app.http.limits import UsageCounter
from slimseq.app.http.middleware import ServiceMiddleware
from slimseq.app.observability.metrics import ServiceMetrics
from tests.app.http.asgi import Connection


def around(app: ASGIApp) -> ServiceMiddleware:
    return ServiceMiddleware(app, BodyReader(1_000_000, 100), KeyRing(None, None), UsageCounter(), ServiceMetrics("0"))


def failing(error: Exception) -> Connection:
    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    async def run() -> Connection:
        connection = Connection()
        await connection.call(around(route))
        return connection

    return asyncio.run(run())


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
        request = asyncio.ensure_future(connection.call(around(route)))
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
        streaming = around(StreamingResponse(events(), media_type="text/event-stream"))
        request = asyncio.ensure_future(connection.call(streaming))
        await has_begun.wait()
        request.cancel()
        await request
        return connection

    connection = asyncio.run(run())

    last = connection.sent[-1]
    assert connection.status == 200 and not last["more_body"]
    assert last["body"].startswith(b"event: error\n") and b"/problems/shutting-down" in last["body"]


JSON = [("Content-Type", "application/json")]


def test_the_route_of_a_client_that_left_is_cancelled() -> None:
    was_cancelled = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).body() == b"{}"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    async def run() -> None:
        connection = Connection(headers=JSON, chunks=[b"{}"])
        asyncio.get_running_loop().call_later(0.05, connection.has_left.set)
        await connection.call(around(slow))

        assert was_cancelled.is_set() and connection.sent == []
        running = asyncio.current_task()
        assert running and not running.cancelling()

    asyncio.run(run())


def test_a_route_that_has_answered_may_end_in_peace() -> None:
    ended = asyncio.Event()

    async def thorough(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("here")(scope, receive, send)
        await asyncio.sleep(0.05)
        ended.set()

    async def run() -> None:
        connection = Connection(headers=JSON, chunks=[b"{}"])
        asyncio.get_running_loop().call_later(0.02, connection.has_left.set)
        await connection.call(around(thorough))

        assert ended.is_set() and connection.status == 200

    asyncio.run(run())
