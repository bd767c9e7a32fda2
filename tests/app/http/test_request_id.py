import asyncio

import pytest
from asgi_correlation_id import CorrelationIdMiddleware
from starlette.types import Receive, Scope, Send

from slimseq.app.http.problems import problem_of
from slimseq.app.main import is_valid_request_id
from slimseq.models_store.errors import SlimseqError
from tests.app.http.middleware.asgi import Connection


def entered(*offered: str) -> str:
    seen: list[str] = []

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(problem_of(SlimseqError("anything")).request_id)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    connection = Connection(headers=[("X-Request-ID", each) for each in offered])
    asyncio.run(connection.call(CorrelationIdMiddleware(route, validator=is_valid_request_id)))
    assert [connection.headers["x-request-id"]] == seen
    return seen[0]


def test_a_sane_id_is_kept() -> None:
    assert entered("trace:1/2.3-4_5") == "trace:1/2.3-4_5"


@pytest.mark.parametrize("offered", [(), ("",), ("a b",), ("a\nb",), ("\xe4",), ("x" * 129,), ('"',)])
def test_another_id_is_replaced_by_one_of_our_own(offered: tuple[str, ...]) -> None:
    assert len(entered(*offered)) == 32
    assert entered(*offered) != entered(*offered)
