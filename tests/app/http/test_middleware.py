import asyncio
import logging

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from slimseq.app.http.body import BodyReader
from slimseq.app.http.keyring import KeyRing
from slimseq.app.http.limits import UsageCounter
from slimseq.app.http.middleware import ServiceMiddleware
from slimseq.app.observability.metrics import ServiceMetrics
from tests.app.http.asgi import Connection

pytestmark = pytest.mark.anyio


def around(app: ASGIApp, *origins: str) -> ServiceMiddleware:
    bodies, keys, metrics = BodyReader(1_000_000, 100), KeyRing(None, None), ServiceMetrics("0")
    return ServiceMiddleware(app, bodies, keys, UsageCounter(), metrics, origins=frozenset(origins))


async def test_an_unexpected_exception_is_logged_and_its_text_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the password is hunter2")

    connection = Connection()
    with caplog.at_level(logging.ERROR):
        await connection.call(around(failing))

    assert connection.status == 500 and connection.json["type"] == "/problems/internal-error"
    assert "hunter2" not in str(connection.json) and "hunter2" in caplog.text


JSON = [("Content-Type", "application/json")]


async def test_a_route_that_has_answered_may_end_in_peace() -> None:
    ended = asyncio.Event()

    async def thorough(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("here")(scope, receive, send)
        await asyncio.sleep(0.05)
        ended.set()

    connection = Connection(headers=JSON, chunks=[b"{}"])
    asyncio.get_running_loop().call_later(0.02, connection.has_left.set)
    await connection.call(around(thorough))

    assert ended.is_set() and connection.status == 200


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        ({}, True),
        ({"Origin": "http://slimseq:8000"}, True),
        # A proxy has changed the host.
        ({"Origin": "https://translate.example", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://slimseq:9000", "Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
    ],
)
async def test_a_page_of_another_site_changes_nothing_here(headers: dict[str, str], is_answered: bool) -> None:
    async def status(method: str, *origins: str) -> int:
        connection = Connection(method, [*JSON, ("Host", "slimseq:8000"), *headers.items()], [b"{}"])
        await connection.call(around(PlainTextResponse("here"), *origins))
        return connection.status

    for method in ("POST", "DELETE"):
        assert await status(method, "https://friend.example") == (200 if is_answered else 403)
        assert await status(method, "*") == 200
    assert await status("GET") == 200
