"""The clients. `Client` sends the calls of `slimseq.client.calls` and waits for answers, `AsyncClient` awaits them."""

import asyncio
import functools
import inspect
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

import httpx2

from slimseq.client import calls
from slimseq.client.answers import Evaluation, Generation, Piece
from slimseq.client.calls import Call, ChosenOptions, Task, Texts
from slimseq.client.errors import ClientError, EvaluationFailed, Retry, Unreachable, WaitedTooLong, error_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")
OnProgress = Callable[[Evaluation], object]

URL = "http://127.0.0.1:8000"
# The service's own deadline is 60 s, and its answer that the deadline passed says more than a timeout.
TIMEOUT_SECONDS = 90.0
# The answer at the end of a stream is one event.
MAX_EVENT_BYTES = 64 * 1024 * 1024


class _Method(Protocol[P, T_co]):
    """The method of a call: `Client` returns its answer, `AsyncClient` a coroutine."""

    @overload
    def __get__(self, client: "Client", kind: type) -> Callable[P, T_co]: ...

    @overload
    def __get__(self, client: "AsyncClient", kind: type) -> Callable[P, Coroutine[Any, Any, T_co]]: ...


def _method(call: Callable[P, Call[T]]) -> _Method[P, T]:
    """Returns the method for a call, with the parameters of the call for `help` and the reference."""

    @functools.wraps(call)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self._send(call(*args, **kwargs))

    signature = inspect.signature(call)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    (answer,) = signature.return_annotation.__args__
    method.__annotations__ = {**call.__annotations__, "return": answer}
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[own, *signature.parameters.values()], return_annotation=answer
    )
    return cast(_Method[P, T], method)


class _Methods:
    """The calls as methods of both clients."""

    _library: type[httpx2.Client] | type[httpx2.AsyncClient]

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

    generate = _method(calls.generate)
    summarize = _method(calls.summarize)
    translate = _method(calls.translate)
    compare = _method(calls.compare)
    variants = _method(calls.variants)
    variant = _method(calls.variant)
    quality = _method(calls.quality)
    start_evaluation = _method(calls.start_evaluation)
    evaluation = _method(calls.evaluation)
    evaluations = _method(calls.evaluations)
    cancel_evaluation = _method(calls.cancel_evaluation)
    start_experiment = _method(calls.start_experiment)
    experiment = _method(calls.experiment)
    experiments = _method(calls.experiments)
    stop_experiment = _method(calls.stop_experiment)
    delete_experiment = _method(calls.delete_experiment)
    rate = _method(calls.rate)
    vote = _method(calls.vote)


class Client(_Methods):
    """A client of the service at a URL. It may be shared by threads, and keeps connections open until it is closed.

    Every method raises a `ClientError`: `ServiceProblem` if the service refuses or fails, `Unreachable` if it does not
    answer, `UnexpectedAnswer` if another program answers.

    Args:
        url: the service's URL. The client connects with the first call.
        token: sent as `Authorization: Bearer TOKEN`.
        timeout_seconds: maximum time to connect, and between two packets of an answer.
        retry: when a failed call is sent again.
        transport: another transport of httpx2, such as one with a proxy.
    """

    _library = httpx2.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def stream(self, task: Task, text: Texts, **options: Unpack[ChosenOptions]) -> Iterator[Piece | Generation]:
        """Yields pieces of the outputs as they are generated, and last the whole answer. See `generate`.

        To stop early, close the iterator: the service stops generating.
        """
        response = self._open(calls.generate(task, text, **options), is_streamed=True)
        try:
            for event in httpx2.EventSource(response, MAX_EVENT_BYTES):
                read = calls.read_event(event)
                yield read
                if isinstance(read, Generation):
                    return
        except httpx2.HTTPError as error:
            raise Unreachable.of(error) from error
        finally:
            response.close()
        raise Unreachable(f"{response.request.url}: the stream ended before its last event")

    def wait(
        self,
        evaluation: Evaluation,
        *,
        timeout_seconds: float = math.inf,
        poll_seconds: float = 1.0,
        on_progress: OnProgress | None = None,
    ) -> Evaluation:
        """Waits for the end of an evaluation, and returns it with its results.

        `on_progress` is called with the evaluation after each look at it.

        Raises:
            EvaluationFailed: it failed or was cancelled.
            WaitedTooLong: the time is over.
        """
        started = time.monotonic()
        while not _has_succeeded(found := self.evaluation(evaluation.id), started, timeout_seconds, on_progress):
            time.sleep(poll_seconds)
        return found

    def _send(self, call: Call[T]) -> T:
        return call.read(self._open(call))

    def _open(self, call: Call[Any], is_streamed: bool = False) -> httpx2.Response:
        """Returns the response to a call, whose body is not read yet if it is streamed. It repeats failed attempts."""
        for attempt in itertools.count(1):
            try:
                request = call.request(self._http, is_streamed)
                response: httpx2.Response = self._http.send(request, stream=is_streamed)
                if not response.is_error:
                    return response
                response.read()
                error: ClientError = error_of(response)
            except httpx2.HTTPError as raised:
                error = Unreachable.of(raised)
            time.sleep(self._retry.wait_seconds(attempt, error, call.is_repeatable))
        raise AssertionError


class AsyncClient(_Methods):
    """`Client` for asyncio: its methods are awaited. It may be shared by tasks."""

    _library = httpx2.AsyncClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def stream(
        self, task: Task, text: Texts, **options: Unpack[ChosenOptions]
    ) -> AsyncIterator[Piece | Generation]:
        """Yields pieces of the outputs as they are generated, and last the whole answer. See `Client.stream`."""
        response = await self._open(calls.generate(task, text, **options), is_streamed=True)
        try:
            async for event in httpx2.EventSource(response, MAX_EVENT_BYTES):
                read = calls.read_event(event)
                yield read
                if isinstance(read, Generation):
                    return
        except httpx2.HTTPError as error:
            raise Unreachable.of(error) from error
        finally:
            await response.aclose()
        raise Unreachable(f"{response.request.url}: the stream ended before its last event")

    async def wait(
        self,
        evaluation: Evaluation,
        *,
        timeout_seconds: float = math.inf,
        poll_seconds: float = 1.0,
        on_progress: OnProgress | None = None,
    ) -> Evaluation:
        """Waits for the end of an evaluation, and returns it with its results. See `Client.wait`."""
        started = time.monotonic()
        while not _has_succeeded(found := await self.evaluation(evaluation.id), started, timeout_seconds, on_progress):
            await asyncio.sleep(poll_seconds)
        return found

    async def _send(self, call: Call[T]) -> T:
        return call.read(await self._open(call))

    async def _open(self, call: Call[Any], is_streamed: bool = False) -> httpx2.Response:
        for attempt in itertools.count(1):
            try:
                response: httpx2.Response = await self._http.send(
                    call.request(self._http, is_streamed), stream=is_streamed
                )
                if not response.is_error:
                    return response
                await response.aread()
                error: ClientError = error_of(response)
            except httpx2.HTTPError as raised:
                error = Unreachable.of(raised)
            await asyncio.sleep(self._retry.wait_seconds(attempt, error, call.is_repeatable))
        raise AssertionError


def _has_succeeded(found: Evaluation, started: float, timeout_seconds: float, on_progress: OnProgress | None) -> bool:
    """Whether an evaluation that is waited for succeeded. Raises if it failed, or if the time is over."""
    if on_progress:
        on_progress(found)
    if found.is_final and found.status != "succeeded":
        raise EvaluationFailed(found)
    if not found.is_final and time.monotonic() - started > timeout_seconds:
        raise WaitedTooLong(found, timeout_seconds)
    return found.is_final
