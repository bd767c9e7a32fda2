import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import ASGIApp

from slimseq.app.errors import Forbidden
from slimseq.app.generate.parameters import GENERATION_PARAMETERS, CallDep
from slimseq.app.http.body import JsonRoute
from slimseq.app.http.dependencies import KNOWN_QUERY_ONLY, check_query
from slimseq.app.http.keyring import KeyRing
from slimseq.app.http.middleware import translate_exceptions
from slimseq.app.main import ROUTERS, create_app
from slimseq.app.settings import Settings
from slimseq.models_store.store import Store
from tests.app.http.asgi import Connection
from tests.app.http.test_middleware import around


class Body(BaseModel):
    """What is asked."""

    number: int


def app() -> FastAPI:
    router = APIRouter(route_class=JsonRoute)

    @router.post("/translate", openapi_extra=GENERATION_PARAMETERS)
    async def route(body: Body, call: CallDep) -> str:
        choice = call.choice
        return f"{call.service}, {choice.variant}, {choice.min_retention}, {choice.runtime}, ä, {body.number}"

    made = FastAPI()
    made.include_router(router, dependencies=[KNOWN_QUERY_ONLY])
    made.state.services = SimpleNamespace(generation="the service", keys=KeyRing(None, None))
    translate_exceptions(made)
    made.add_middleware(around)
    return made


def asked(
    to: ASGIApp, body: bytes, query: bytes = b"", path: str = "/translate", method: str = "POST"
) -> tuple[int, Any]:
    connection = Connection(method, [("Content-Type", "application/json")], [body])
    connection.scope |= {"path": path, "query_string": query}
    asyncio.run(connection.call(to))
    return connection.status, connection.json


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (b"", "None, None, None"),
        (b"variant=quantized&runtime=torch", "quantized, None, torch"),
        (b"min_retention=0.95&runtime=auto", "None, 0.95, None"),
    ],
)
def test_body_and_query_reach_the_endpoint(query: bytes, told: str) -> None:
    assert asked(app(), b'{"number": 3}', query) == (200, f"the service, {told}, ä, 3")


@pytest.mark.parametrize(
    ("body", "query", "detail"),
    [
        (b"", b"", "a JSON body is required"),
        (b'{"number": "three"}', b"", "number: "),
        (b'{"number": 3}', b"min_retention=3", "query parameter min_retention: "),
        (b'{"number": 3}', b"varinat=quantized", "query parameter 'varinat': "),
        (b'{"number": 3}', b"variant=a&variant=b", "query parameter 'variant': is given 2 times"),
        (b'{"number": "' + b"3" * 300_000 + b'"}', b"", "number: "),
        (b'{"number": "' + b"3" * 300_000, b"", "the body is not JSON: EOF while parsing a string at line 1"),
    ],
)
def test_what_is_wrong_is_told_in_fastapis_words(body: bytes, query: bytes, detail: str) -> None:
    status, problem = asked(app(), body, query)

    assert status == 422
    assert problem["detail"].startswith(detail)


async def forbid() -> None:
    raise Forbidden("not you")


ENDPOINTS = [
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    # That of uploads refuses JSON at the door.
    if isinstance(route, APIRoute) and route.path != "/evaluations/upload"
    for method in sorted(route.methods or ())
]


@pytest.fixture(scope="module")
def forbidden(embedded: Store) -> FastAPI:
    """The service with a dependency of all routes that refuses every request."""
    made = create_app(Settings(store=embedded.root))
    made.dependency_overrides[check_query] = forbid
    return made


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("words", [1, 300_000])
def test_no_endpoint_runs_past_a_dependency_of_its_router(
    forbidden: FastAPI, method: str, path: str, words: int
) -> None:
    status, problem = asked(forbidden, b'{"text": "' + b"a " * words + b'a"}', path=path, method=method)

    assert (status, problem["detail"]) == (403, "not you")
