"""No route runs without the checks of its router, whatever the size of the body."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import ASGIApp

from slimseq.app.dialects import huggingface
from slimseq.app.errors import Forbidden
from slimseq.app.generate import routes as generate
from slimseq.app.generate.schemas import TranslateRequest
from slimseq.app.http.callers import Caller
from slimseq.app.http.dependencies import check_query
from slimseq.app.http.keys import Scope
from slimseq.app.main import ROUTERS, create_app
from slimseq.app.settings import Settings
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.store import Store
from tests.app.http.asgi import Connection


def response_of(
    app: ASGIApp, body: bytes, query: bytes = b"", path: str = "/translate", method: str = "POST"
) -> tuple[int, Any]:
    connection = Connection(method, [("Content-Type", "application/json")], [body])
    connection.scope |= {"path": path, "query_string": query}
    asyncio.run(connection.call(app))
    return connection.status, connection.json


async def forbid() -> None:
    raise Forbidden("not you")


ENDPOINTS = [
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    # The route of uploads refuses JSON before its dependencies run.
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
@pytest.mark.parametrize("words", [1, 300_000], ids=["small body", "large body"])
def test_no_endpoint_runs_past_a_dependency_of_its_router(
    forbidden: FastAPI, method: str, path: str, words: int
) -> None:
    status, problem = response_of(forbidden, b'{"text": "' + b"a " * words + b'a"}', path=path, method=method)

    assert (status, problem["detail"]) == (403, "not you")


GENERATION = [
    (prefix + route.path, method)
    for prefix, router in (("", generate.router), (huggingface.PATH, huggingface.router))
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]


@pytest.mark.parametrize(("path", "method"), GENERATION)
@pytest.mark.parametrize("words", [1, 300_000], ids=["small body", "large body"])
def test_no_route_of_generation_runs_for_a_caller_without_its_scope(
    embedded: Store, monkeypatch: pytest.MonkeyPatch, path: str, method: str, words: int
) -> None:
    monkeypatch.setattr(Caller, "may", lambda caller, scope: scope is not Scope.GENERATE)

    body = b'{"text": "' + b"a " * words + b'a"}'

    assert response_of(create_app(Settings(store=embedded.root)), body, path=path, method=method)[0] == 403


def bounds(model: type[BaseModel], name: str) -> set[tuple[str, Any]]:
    """Returns the type of a field and its limits, as the JSON schema says them, whether or not it may be null."""
    schema = model.model_json_schema()["properties"][name]
    number = next((option for option in schema.get("anyOf", []) if option["type"] != "null"), schema)
    return {(key, number[key]) for key in ("type", "minimum", "maximum") if key in number}


@pytest.mark.parametrize("name", GenerationOptions.model_fields)
def test_options_have_the_bounds_of_the_manifest(name: str) -> None:
    assert bounds(TranslateRequest, name) == bounds(GenerationOptions, name)
