"""The clients. `Client` sends the calls of `slimseq.client.calls` and waits for answers, `AsyncClient` awaits them."""

import asyncio
import functools
import inspect
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import httpx2

from slimseq.client import calls
from slimseq.client.answers import Evaluation, Generation, Piece
from slimseq.client.calls import Call, ChosenOptions, Task, Texts
from slimseq.client.errors import ClientError, EvaluationFailed, Retry, Unreachable, WaitedTooLong, error_of

T = TypeVar("T")
P = ParamSpec("P")
M = TypeVar("M", bound=Callable[..., Any])
OnProgress = Callable[[Evaluation], object]

URL = "http://127.0.0.1:8000"
# The service's own deadline is 60 s, and its answer that the deadline passed says more than a timeout.
TIMEOUT_SECONDS = 90.0
# The answer at the end of a stream is one event.
MAX_EVENT_BYTES = 64 * 1024 * 1024


def _sent(call: Callable[P, Call[T]]) -> Callable[Concatenate["Client", P], T]:
    """Returns the method of `Client` for a call."""

    @functools.wraps(call)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(call(*args, **kwargs))

    return _as_method(method, call)


def _awaited(call: Callable[P, Call[T]]) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """Returns the method of `AsyncClient` for a call."""

    @functools.wraps(call)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(call(*args, **kwargs))

    return _as_method(method, call)


def _as_method(method: M, call: Callable[..., Any]) -> M:
    """Gives a client's method the parameters of its call, for `help` and the reference."""
    signature = inspect.signature(call)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    (answer,) = signature.return_annotation.__args__
    method.__annotations__ = {**call.__annotations__, "return": answer}
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[own, *signature.parameters.values()], return_annotation=answer
    )
    return method


class Client:
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

    def __init__(
        self,
        url: str = URL,
        *,
        token: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry: Retry = Retry(),  # noqa: B008 - it is frozen
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._http = httpx2.Client(
            base_url=url, headers=_authorization(token), timeout=timeout_seconds, transport=transport
        )
        self._retry = retry

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    generate = _sent(calls.generate)
    summarize = _sent(calls.summarize)
    translate = _sent(calls.translate)
    compare = _sent(calls.compare)
    variants = _sent(calls.variants)
    variant = _sent(calls.variant)
    quality = _sent(calls.quality)
    start_evaluation = _sent(calls.start_evaluation)
    evaluation = _sent(calls.evaluation)
    evaluations = _sent(calls.evaluations)
    cancel_evaluation = _sent(calls.cancel_evaluation)
    start_experiment = _sent(calls.start_experiment)
    experiment = _sent(calls.experiment)
    experiments = _sent(calls.experiments)
    stop_experiment = _sent(calls.stop_experiment)
    delete_experiment = _sent(calls.delete_experiment)
    rate = _sent(calls.rate)
    vote = _sent(calls.vote)

    def stream(self, task: Task, text: Texts, **options: Unpack[ChosenOptions]) -> Iterator[Piece | Generation]:
        """Yields pieces of the outputs as they are generated, and last the whole answer. See `generate`.

        To stop early, close the iterator: the service stops generating.
        """
        call = calls.generate(task, text, **options).streamed()
        response = self._repeat(call, lambda: self._open(call))
        try:
            for event in httpx2.EventSource(response, MAX_EVENT_BYTES):
                read = calls.read_event(event)
                yield read
                if isinstance(read, Generation):
                    return
        except httpx2.HTTPError as error:
            raise Unreachable.of(error, str(response.request.url)) from error
        finally:
            response.close()
        raise Unreachable(f"{response.request.url}: the stream ended before its last event")

    def wait(
        self,
        evaluation: Evaluation,
        *,
        timeout_seconds: float | None = None,
        poll_seconds: float = 1.0,
        on_progress: OnProgress | None = None,
    ) -> Evaluation:
        """Waits for the end of an evaluation, and returns it with its results.

        Args:
            evaluation: the evaluation.
            timeout_seconds: maximum time to wait. None: no limit.
            poll_seconds: time between two looks at it.
            on_progress: called with the evaluation after each look.

        Raises:
            EvaluationFailed: it failed or was cancelled.
            WaitedTooLong: the time is over.
        """
        started = time.monotonic()
        while not evaluation.is_final:
            if timeout_seconds is not None and time.monotonic() - started > timeout_seconds:
                raise WaitedTooLong(evaluation, timeout_seconds)
            time.sleep(poll_seconds)
            evaluation = self.evaluation(evaluation.id)
            if on_progress:
                on_progress(evaluation)
        ended = evaluation if evaluation.results else self.evaluation(evaluation.id)
        if ended.status != "succeeded":
            raise EvaluationFailed(ended)
        return ended

    def _send(self, call: Call[T]) -> T:
        return self._repeat(call, lambda: call.result(self._http.send(call.request(self._http))))

    def _open(self, call: Call[Generation]) -> httpx2.Response:
        """Returns the response of a stream, whose body is not read yet."""
        response = self._http.send(call.request(self._http), stream=True)
        if response.status_code >= calls.FIRST_ERROR:
            try:
                response.read()
            finally:
                response.close()
            raise error_of(response)
        return response

    def _repeat(self, call: Call[Any], once: Callable[[], T]) -> T:
        """Runs one attempt after the other until one succeeds or its error is final."""
        for attempt in itertools.count(1):
            try:
                return once()
            except (httpx2.HTTPError, ClientError) as raised:
                error = call.error(raised, self._http)
            time.sleep(self._retry.wait_seconds(attempt, error, call.is_repeatable))
        raise AssertionError


class AsyncClient:
    """`Client` for asyncio: its methods are awaited. It may be shared by tasks."""

    def __init__(
        self,
        url: str = URL,
        *,
        token: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry: Retry = Retry(),  # noqa: B008 - it is frozen
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx2.AsyncClient(
            base_url=url, headers=_authorization(token), timeout=timeout_seconds, transport=transport
        )
        self._retry = retry

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    generate = _awaited(calls.generate)
    summarize = _awaited(calls.summarize)
    translate = _awaited(calls.translate)
    compare = _awaited(calls.compare)
    variants = _awaited(calls.variants)
    variant = _awaited(calls.variant)
    quality = _awaited(calls.quality)
    start_evaluation = _awaited(calls.start_evaluation)
    evaluation = _awaited(calls.evaluation)
    evaluations = _awaited(calls.evaluations)
    cancel_evaluation = _awaited(calls.cancel_evaluation)
    start_experiment = _awaited(calls.start_experiment)
    experiment = _awaited(calls.experiment)
    experiments = _awaited(calls.experiments)
    stop_experiment = _awaited(calls.stop_experiment)
    delete_experiment = _awaited(calls.delete_experiment)
    rate = _awaited(calls.rate)
    vote = _awaited(calls.vote)

    async def stream(
        self, task: Task, text: Texts, **options: Unpack[ChosenOptions]
    ) -> AsyncIterator[Piece | Generation]:
        """Yields pieces of the outputs as they are generated, and last the whole answer. See `Client.stream`."""
        call = calls.generate(task, text, **options).streamed()
        response = await self._repeat(call, lambda: self._open(call))
        try:
            async for event in httpx2.EventSource(response, MAX_EVENT_BYTES):
                read = calls.read_event(event)
                yield read
                if isinstance(read, Generation):
                    return
        except httpx2.HTTPError as error:
            raise Unreachable.of(error, str(response.request.url)) from error
        finally:
            await response.aclose()
        raise Unreachable(f"{response.request.url}: the stream ended before its last event")

    async def wait(
        self,
        evaluation: Evaluation,
        *,
        timeout_seconds: float | None = None,
        poll_seconds: float = 1.0,
        on_progress: OnProgress | None = None,
    ) -> Evaluation:
        """Waits for the end of an evaluation, and returns it with its results. See `Client.wait`."""
        started = time.monotonic()
        while not evaluation.is_final:
            if timeout_seconds is not None and time.monotonic() - started > timeout_seconds:
                raise WaitedTooLong(evaluation, timeout_seconds)
            await asyncio.sleep(poll_seconds)
            evaluation = await self.evaluation(evaluation.id)
            if on_progress:
                on_progress(evaluation)
        ended = evaluation if evaluation.results else await self.evaluation(evaluation.id)
        if ended.status != "succeeded":
            raise EvaluationFailed(ended)
        return ended

    async def _send(self, call: Call[T]) -> T:
        async def once() -> T:
            return call.result(await self._http.send(call.request(self._http)))

        return await self._repeat(call, once)

    async def _open(self, call: Call[Generation]) -> httpx2.Response:
        response = await self._http.send(call.request(self._http), stream=True)
        if response.status_code >= calls.FIRST_ERROR:
            try:
                await response.aread()
            finally:
                await response.aclose()
            raise error_of(response)
        return response

    async def _repeat(self, call: Call[Any], once: Callable[[], Awaitable[T]]) -> T:
        for attempt in itertools.count(1):
            try:
                return await once()
            except (httpx2.HTTPError, ClientError) as raised:
                error = call.error(raised, self._http)
            await asyncio.sleep(self._retry.wait_seconds(attempt, error, call.is_repeatable))
        raise AssertionError


def _authorization(token: str | None) -> dict[str, str]:
    """Returns the headers that each request of a client has."""
    return {"Authorization": f"Bearer {token}"} if token else {}
