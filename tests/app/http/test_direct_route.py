import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from slimseq.app.http.dependencies import ChoiceDep, GenerationDep
from slimseq.app.http.direct_route import DirectRoute
from slimseq.app.http.problems import install_problems


class Body(BaseModel):
    """What is asked."""

    number: int


class Answer(BaseModel):
    """What is answered."""

    text: str
    number: int


def app() -> FastAPI:
    router = APIRouter(route_class=DirectRoute)

    @router.post("/", response_model=Answer)
    async def route(body: Body, service: GenerationDep, choice: ChoiceDep) -> Answer:
        return Answer(
            text=f"{service}, {choice.variant}, {choice.min_retention}, {choice.runtime}, ä", number=body.number
        )

    made = FastAPI()
    made.include_router(router)
    made.state.services = SimpleNamespace(generation="the service")
    install_problems(made)
    return made


def posted(body: bytes, query: bytes = b"") -> tuple[int, Any]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": query,
        "headers": [(b"content-type", b"application/json")],
        "state": {},
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app()(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (b"", "None, None, None"),
        (b"variant=quantized&runtime=torch", "quantized, None, torch"),
        (b"min_retention=0.95&runtime=auto", "None, 0.95, None"),
    ],
)
def test_body_and_query_reach_the_endpoint(query: bytes, told: str) -> None:
    assert posted(b'{"number": 3}', query) == (200, {"text": f"the service, {told}, ä", "number": 3})


@pytest.mark.parametrize(
    ("body", "query", "detail"),
    [
        (b"", b"", "a JSON body is required"),
        (b'{"number": "three"}', b"", "number: "),
        (b'{"number": 3}', b"min_retention=3", "query parameter min_retention: "),
        (b'{"number": 3}', b"varinat=quantized", "query parameter varinat: "),
        (b'{"number": 3}', b"variant=a&variant=b", "query parameter 'variant': is given 2 times"),
        (b'{"number": "' + b"3" * 300_000 + b'"}', b"", "number: "),
        (b'{"number": "' + b"3" * 300_000, b"", "the body is not JSON: EOF while parsing a string at line 1"),
    ],
)
def test_what_is_wrong_is_told_in_fastapis_words(body: bytes, query: bytes, detail: str) -> None:
    status, problem = posted(body, query)

    assert status == 422
    assert problem["detail"].startswith(detail)


def test_an_endpoint_that_asks_for_something_else_is_refused() -> None:
    async def route(body: Body, number: int) -> Answer:
        return Answer(text="", number=number + body.number)

    with pytest.raises(TypeError, match="takes body, number, not body, service and choice"):
        APIRouter(route_class=DirectRoute).post("/")(route)
