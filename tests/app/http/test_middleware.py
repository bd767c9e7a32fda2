"""The layer around the router: every error is a problem, a client that leaves, pages of other sites."""

import asyncio
import logging

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from slimseq.app.http.body import BodyReader
from slimseq.app.http.callers import KeyRing
from slimseq.app.http.middleware import ServiceMiddleware
from slimseq.app.http.usage import UsageCounter
from slimseq.app.observability.logs import REQUEST
from slimseq.app.observability.service_metrics import ServiceMetrics
from tests.app.http.asgi import Connection
from tests.app.test_failures import Panic

pytestmark = pytest.mark.anyio


def around(app: ASGIApp, *origins: str) -> ServiceMiddleware:
    """The layer around an application, without keys. Pages of `origins` are trusted."""
    bodies = BodyReader(max_bytes=1_000_000, max_values=100)
    keys = KeyRing(None, None)
    metrics = ServiceMetrics("0")
    return ServiceMiddleware(app, bodies, keys, UsageCounter(), metrics, origins=frozenset(origins))


async def test_the_text_of_an_unexpected_exception_is_logged_and_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the password is hunter2")

    connection = Connection()
    with caplog.at_level(logging.ERROR):
        await connection.call(around(failing))

    assert connection.status == 500
    assert connection.json["type"] == "/problems/internal-error"
    assert "hunter2" not in str(connection.json)
    assert "hunter2" in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [(Panic("a library in Rust"), 500, "unexpected error"), (MemoryError(), 503, "memory ran out")],
    ids=["panic in Rust", "out of memory"],
)
async def test_whatever_a_route_raises_is_answered_with_a_problem_and_logged_with_its_status(
    caplog: pytest.LogCaptureFixture, error: BaseException, status: int, detail: str
) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    connection = Connection()
    with caplog.at_level(logging.INFO):
        await connection.call(around(failing))

    assert connection.status == status
    assert connection.json["status"] == status
    assert detail in connection.json["detail"]
    assert [vars(record)["status"] for record in caplog.records if record.msg == REQUEST] == [status]


JSON = [("Content-Type", "application/json")]


async def test_a_client_that_leaves_after_the_response_does_not_cancel_the_route() -> None:
    ended = asyncio.Event()

    async def slow_to_end(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("here")(scope, receive, send)
        await asyncio.sleep(0.05)
        ended.set()

    connection = Connection(headers=JSON, chunks=[b"{}"])
    asyncio.get_running_loop().call_later(0.02, connection.has_left.set)
    await connection.call(around(slow_to_end))

    assert ended.is_set()
    assert connection.status == 200


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        pytest.param({}, True, id="no browser"),
        pytest.param({"Origin": "http://slimseq:8000"}, True, id="own page in an old browser"),
        pytest.param(
            {"Origin": "https://translate.example", "Sec-Fetch-Site": "same-origin"}, True, id="proxy changed the host"
        ),
        pytest.param({"Sec-Fetch-Site": "none"}, True, id="address bar"),
        pytest.param({"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, True, id="trusted origin"),
        pytest.param({"Origin": "https://evil.example"}, False, id="foreign page in an old browser"),
        pytest.param({"Origin": "null"}, False, id="sandboxed page"),
        pytest.param({"Origin": "http://slimseq:9000", "Sec-Fetch-Site": "same-site"}, False, id="other port"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, False, id="foreign page without origin"),
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
