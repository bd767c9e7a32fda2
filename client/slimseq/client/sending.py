"""Sends requests for both clients, again after failures, and reads the answers.

`slimseq.client.client` has the methods of the clients. They pass a `Request` to `_answer` or to `_open`. The methods
here are coroutines too, see there.
"""

import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import httpx2
from pydantic import TypeAdapter

from slimseq.answers import Generation, Piece
from slimseq.client.errors import ClientError, Retry, ServiceProblem, UnexpectedAnswer, Unreachable, error_of
from slimseq.client.request import Request, generation_request, without_none
from slimseq.client.request_options import Task, Texts

T = TypeVar("T")

URL = "http://127.0.0.1:8000"
# The service's own deadline is 60 s. The client waits longer, because the service's answer says more than a timeout.
TIMEOUT_SECONDS = 90.0
# Maximum size of an event of a stream. The last event has the whole answer.
MAX_EVENT_BYTES = 64 * 1024 * 1024


class RequestSender:
    """Sends requests with an HTTP library, which `Client` uses with blocking functions and `AsyncClient` with asyncio.

    A client sets the attributes below, and defines `_events` and `_waited`.
    """

    _library: type[httpx2.Client] | type[httpx2.AsyncClient]
    # Blocking functions in `Client`, coroutine functions in `AsyncClient`. `_waited` returns the results of both.
    _sleep: Callable[[float], Any]
    _read: Callable[[httpx2.Response], Any]
    _close: Callable[[httpx2.Response], Any]

    def __init__(
        self,
        url: str = URL,
        *,
        token: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry: Retry = Retry(),  # noqa: B008 - it is frozen
        transport: Any = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http: Any = self._library(base_url=url, headers=headers, timeout=timeout_seconds, transport=transport)
        self._retry = retry

    async def _stream(
        self, task: Task, text: Texts, options: Mapping[str, Any]
    ) -> AsyncGenerator[Piece | Generation, None]:
        """Yields pieces of the outputs as they are generated, and at last the whole answer."""
        request = generation_request(task, text, {**options, "stream": True})
        response = await self._open(request, is_streamed=True)
        try:
            async for event in self._events(httpx2.EventSource(response, MAX_EVENT_BYTES)):
                if event.event == "token":
                    yield Piece.model_validate_json(event.data, extra="allow")
                elif event.event == "done":
                    yield Generation.model_validate_json(event.data, extra="allow")
                    return
                else:
                    raise ServiceProblem(json.loads(event.data))
        except httpx2.HTTPError as error:
            raise Unreachable.of(error) from error
        finally:
            await self._waited(self._close(response))
        raise Unreachable(f"{response.request.url}: the stream ended before its last event")

    async def _answer(self, kind: type[T], request: Request, *, key: str | None = None) -> T:
        """Sends a request, and returns the answer as an instance of `kind`: the body, or the value of its `key`."""
        response = await self._open(request)
        try:
            content: Any = json.loads(response.content) if response.content else None
            value = content if key is None else content[key]
            # A newer service may have further fields.
            answer: T = TypeAdapter(kind).validate_python(value, extra="allow")
        except (ValueError, LookupError, TypeError) as error:
            raise UnexpectedAnswer(response) from error
        return answer

    async def _open(self, request: Request, *, is_streamed: bool = False) -> httpx2.Response:
        """Sends a request, again after failures, and returns the response. The body of a stream is not read yet."""
        params = without_none(request.query)
        for attempt in itertools.count(1):
            try:
                built = self._http.build_request(
                    request.method, request.path, params=params, json=request.body, headers=request.headers
                )
                response: httpx2.Response = await self._waited(self._http.send(built, stream=is_streamed))
                if not response.is_error:
                    return response
                await self._waited(self._read(response))
                error: ClientError = error_of(response)
            except httpx2.HTTPError as raised:
                error = Unreachable.of(raised)
            # Raises the error if it is final.
            seconds = self._retry.wait_seconds(attempt, error, request.is_repeatable)
            await self._waited(self._sleep(seconds))
        raise AssertionError("itertools.count does not end")

    def _events(self, source: Any) -> AsyncIterator[httpx2.ServerSentEvent]:
        """Yields the events of a stream."""
        raise NotImplementedError

    async def _waited(self, result: Any) -> Any:
        """Returns the result of a function of the HTTP library, which `AsyncClient` has to await."""
        raise NotImplementedError
