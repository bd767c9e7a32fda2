import asyncio

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from slimseq.app.http.middleware.disconnect import DisconnectMiddleware
from tests.app.http.middleware.asgi import Connection


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
        connection = Connection(chunks=[b"{}"])
        asyncio.get_running_loop().call_later(0.05, connection.has_left.set)
        await connection.call(DisconnectMiddleware(slow))

        assert was_cancelled.is_set() and connection.sent == []

    asyncio.run(run())


def test_an_answer_reaches_a_client_that_stays() -> None:
    async def run() -> None:
        connection = Connection(chunks=[b"{}"])
        await connection.call(DisconnectMiddleware(PlainTextResponse("here")))

        assert connection.status == 200

    asyncio.run(run())


def test_a_route_that_has_answered_may_end_in_peace() -> None:
    ended = asyncio.Event()

    async def thorough(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("here")(scope, receive, send)
        await asyncio.sleep(0.05)
        ended.set()

    async def run() -> None:
        connection = Connection(chunks=[b"{}"])
        asyncio.get_running_loop().call_later(0.02, connection.has_left.set)
        await connection.call(DisconnectMiddleware(thorough))

        assert ended.is_set()

    asyncio.run(run())
