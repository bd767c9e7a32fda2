import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from slimseq.app.errors import BodyTooComplex, MalformedBody, Overloaded, PayloadTooLarge, UnsupportedMediaType
from slimseq.app.http.middleware.body import MAX_LARGE_BODIES, BodyMiddleware
from slimseq.app.http.middleware.json_limits import PIECE_BYTES
from tests.app.http.middleware.asgi import Connection

JSON = ("Content-Type", "application/json")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(body)(scope, receive, send)


def send(chunks: Sequence[bytes], *headers: tuple[str, str], method: str = "POST") -> Connection:
    async def run() -> Connection:
        connection = Connection(method, headers, chunks)
        await connection.call(BodyMiddleware(echo, max_bytes=10, max_values=100))
        return connection

    return asyncio.run(run())


def test_a_body_reaches_the_route_whole() -> None:
    connection = send([b'{"a"', b":", b" 1}"], JSON)

    assert b"".join(message.get("body", b"") for message in connection.sent) == b'{"a": 1}'


def test_a_declared_length_above_the_limit_is_refused_unread() -> None:
    async def run() -> Connection:
        connection = Connection("POST", [JSON, ("Content-Length", "11")], [b"x" * 11])
        with pytest.raises(PayloadTooLarge, match="10 bytes"):
            await connection.call(BodyMiddleware(echo, max_bytes=10, max_values=100))
        return connection

    assert asyncio.run(run()).reads == 0


def test_chunks_are_counted_and_reading_stops_at_the_limit() -> None:
    async def run() -> Connection:
        connection = Connection("POST", [JSON], [b"x" * 6] * 100)
        with pytest.raises(PayloadTooLarge):
            await connection.call(BodyMiddleware(echo, max_bytes=10, max_values=100))
        return connection

    assert asyncio.run(run()).reads == 2


def test_forms_are_taken_where_they_are_read_and_only_there() -> None:
    async def run(path: str) -> Connection:
        connection = Connection("POST", [("Content-Type", "application/x-www-form-urlencoded")], [b"q=[[", b"[["])
        connection.scope["path"] = path
        await connection.call(
            BodyMiddleware(
                echo,
                max_bytes=10,
                max_values=2,
                media_types={"/translate": ("application/json", "application/x-www-form-urlencoded")},
            )
        )
        return connection

    taken = asyncio.run(run("/translate"))

    assert b"".join(message.get("body", b"") for message in taken.sent) == b"q=[[[["
    with pytest.raises(UnsupportedMediaType, match="must be application/json, not"):
        asyncio.run(run("/summarize"))


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_taken_however_it_is_written(media_type: str) -> None:
    assert send([b"{}"], ("Content-Type", media_type)).status == 200


@pytest.mark.parametrize(
    "headers", [(), (("Content-Type", "text/plain"),), (JSON, ("Content-Encoding", "gzip")), (("Content-Type", ""),)]
)
def test_anything_else_is_unsupported(headers: Sequence[tuple[str, str]]) -> None:
    with pytest.raises(UnsupportedMediaType):
        send([b"{}"], *headers)


def test_bytes_that_are_no_utf8_are_malformed() -> None:
    with pytest.raises(MalformedBody, match="at byte 2"):
        send([b'["\xff"]'], JSON)


def test_requests_without_a_body_pass() -> None:
    assert send([b""]).status == 200
    assert send([b""], method="GET").status == 200


def test_reading_stops_at_the_first_chunk_with_too_many_values() -> None:
    async def run() -> Connection:
        connection = Connection("POST", [JSON], [b"[1,", *[b"1,1," for _ in range(100)]])
        with pytest.raises(BodyTooComplex, match="more than 10 "):
            await connection.call(BodyMiddleware(echo, max_bytes=10_000, max_values=10))
        return connection

    # A bracket and a comma, then two commas a chunk.
    assert asyncio.run(run()).reads == 6


def test_others_have_their_turn_while_a_large_chunk_is_scanned() -> None:
    async def run() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        connection = Connection("POST", [JSON], [b'"' + b"a" * (PIECE_BYTES * 20) + b'"'])
        beside = asyncio.ensure_future(others())
        await connection.call(BodyMiddleware(echo, max_bytes=10_000_000, max_values=10))
        beside.cancel()
        return turns

    # Once between two pieces, nearly.
    assert asyncio.run(run()) >= 18


def test_bodies_in_progress_are_limited_together_and_free_their_share_at_their_end() -> None:
    body = b'{"a": 1  }'
    has_all, may_end = asyncio.Event(), asyncio.Event()
    running: list[None] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        running.append(None)
        if len(running) == MAX_LARGE_BODIES:
            has_all.set()
        await may_end.wait()
        await PlainTextResponse("")(scope, receive, send)

    async def run() -> None:
        middleware = BodyMiddleware(slow, max_bytes=len(body), max_values=100)
        calls = [Connection("POST", [JSON], [body]).call(middleware) for _ in range(MAX_LARGE_BODIES)]
        tasks = [asyncio.create_task(call) for call in calls]
        await has_all.wait()

        with pytest.raises(Overloaded, match="retry in 1 s"):
            await Connection("POST", [JSON], [b"{}"]).call(middleware)

        may_end.set()
        await asyncio.gather(*tasks)
        await Connection("POST", [JSON], [body]).call(middleware)

    asyncio.run(run())
    assert len(running) == MAX_LARGE_BODIES + 1
