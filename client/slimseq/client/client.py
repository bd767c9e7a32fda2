"""The clients: `Client` waits for answers, `AsyncClient` awaits them.

Both inherit the same methods (`_Methods`), which are coroutines. The methods differ only where they touch the HTTP
library: `AsyncClient` returns the coroutines, and `Client` runs them to their end. With the blocking functions of the
HTTP library a coroutine never suspends, so `Client` needs no event loop.

`slimseq.client.request` makes the requests, `slimseq.client.sending` sends them, and `slimseq.client.errors` has the
errors and the rule for retries.
"""

import asyncio
import functools
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload
from urllib.parse import quote

import httpx2

from slimseq.answers import Comparison, Experiment, ExperimentState, Feedback, Generation, Piece, Variant
from slimseq.client.errors import EvaluationFailed, WaitedTooLong
from slimseq.client.quality import Evaluation, VariantQuality
from slimseq.client.request import Request, generation_request, headers_of, texts_request, without_none
from slimseq.client.request_options import ChosenOptions, ComparedOptions, Task, Texts
from slimseq.client.sending import RequestSender

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")
OnProgress = Callable[[Evaluation], object]


class _Method(Protocol[P, T_co]):
    """A method of both clients. In `Client` it returns an answer, in `AsyncClient` a coroutine."""

    @overload
    def __get__(self, client: "Client", kind: type) -> Callable[P, T_co]: ...

    @overload
    def __get__(self, client: "AsyncClient", kind: type) -> Callable[P, Coroutine[Any, Any, T_co]]: ...


def _method(function: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> _Method[P, T]:
    """Makes a coroutine function a method of both clients.

    The client's `_run` gets the coroutine. In `AsyncClient` it returns the coroutine, in `Client` the result.
    """

    @functools.wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self._run(function(self, *args, **kwargs))

    return cast(_Method[P, T], method)


def _path(*parts: str) -> str:
    """Returns the path of a URL. A name with a slash or another special character stays one part."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


class _Methods(RequestSender):
    """The methods of both clients."""

    @_method
    async def generate(self, task: Task, text: Texts, **options: Unpack[ChosenOptions]) -> Generation:
        """Summarizes or translates a text, or several.

        Without a choice, the default variant of the languages answers. `variant` names another variant.
        `min_retention`, `max_latency_ms` and `max_bytes` let the service choose a variant within these limits.
        `runtime` names the runtime. `deadline_ms` shortens the service's deadline. `priority="low"` lets the request
        wait behind others. In an experiment, all requests of a `unit` get the same arm.
        """
        return await self._answer(Generation, generation_request(task, text, options))

    @_method
    async def summarize(self, text: Texts, **options: Unpack[ChosenOptions]) -> Generation:
        """Summarizes a text, or several. See `generate`."""
        return await self._answer(Generation, generation_request("summarization", text, options))

    @_method
    async def translate(self, text: Texts, **options: Unpack[ChosenOptions]) -> Generation:
        """Translates a text, or several, sentence by sentence. See `generate`."""
        return await self._answer(Generation, generation_request("translation", text, options))

    @_method
    async def compare(
        self,
        task: Task,
        variants: Sequence[str],
        text: Texts,
        *,
        runtime: str | None = None,
        **options: Unpack[ComparedOptions],
    ) -> Comparison:
        """Generates from the same text with 2 to 8 variants, one after the other. `unit` identifies who votes."""
        query = {"task": task, "variant": list(variants), "runtime": runtime}
        return await self._answer(Comparison, texts_request("/compare", query, text, options))

    @_method
    async def variants(self) -> list[Variant]:
        """Returns all variants."""
        return await self._answer(list[Variant], Request("GET", "/variants"), key="variants")

    @_method
    async def variant(self, task: Task, name: str) -> Variant:
        """Returns one variant, with its manifest as `manifest`."""
        return await self._answer(Variant, Request("GET", _path("variants", task, name)))

    @_method
    async def quality(self, task: Task | None = None, variant: str | None = None) -> list[VariantQuality]:
        """Returns the measured quality of all variants, or of the variants of one task or with one name."""
        query = {"task": task, "variant": variant}
        return await self._answer(list[VariantQuality], Request("GET", "/quality", query), key="qualities")

    @_method
    async def start_evaluation(
        self,
        /,
        task: Task,
        variants: Sequence[str],
        *,
        dataset: str | None = None,
        samples: int | None = None,
        pairs: Sequence[Mapping[str, str]] | None = None,
        **more: Any,
    ) -> Evaluation:
        """Starts an evaluation of variants. `wait` waits for its results.

        The variants read the first `samples` of a `dataset`, such as `sample`, or of `pairs`. A pair has `source` and
        `target`, or `document` and `summary`. `more` has further fields of the request, such as the `languages` of
        pairs.
        """
        fields = without_none({"dataset": dataset, "samples": samples, "pairs": pairs})
        body = {"task": task, "variants": list(variants), **fields, **more}
        # Not repeatable: a second request would start a second evaluation.
        return await self._answer(Evaluation, Request("POST", "/evaluations", body=body, is_repeatable=False))

    @_method
    async def evaluation(self, identifier: str) -> Evaluation:
        """Returns an evaluation, with results once it succeeded."""
        return await self._evaluation(identifier)

    @_method
    async def evaluations(self) -> list[Evaluation]:
        """Returns the newest evaluations, without results."""
        return await self._answer(list[Evaluation], Request("GET", "/evaluations"), key="evaluations")

    @_method
    async def cancel_evaluation(self, identifier: str) -> Evaluation:
        """Cancels an evaluation that has not ended, or deletes an evaluation that has. Returns its last state."""
        # Not repeatable: a second DELETE would delete the evaluation that the first one cancelled.
        request = Request("DELETE", _path("evaluations", identifier), is_repeatable=False)
        return await self._answer(Evaluation, request)

    @_method
    async def wait(
        self,
        evaluation: Evaluation,
        *,
        timeout_seconds: float = math.inf,
        poll_seconds: float = 1.0,
        on_progress: OnProgress | None = None,
    ) -> Evaluation:
        """Waits for the end of an evaluation, and returns it with its results.

        `on_progress` is called with the evaluation when its progress has changed.

        Raises:
            EvaluationFailed: the evaluation failed or was cancelled.
            WaitedTooLong: the time is over.
        """
        started = time.monotonic()
        # The progress of an evaluation is between 0 and 1: the first one is always a change.
        progress = -1.0
        while True:
            found = await self._evaluation(evaluation.id)
            if on_progress and found.progress != progress:
                on_progress(found)
            progress = found.progress
            if found.status == "succeeded":
                return found
            if found.status.is_final:
                raise EvaluationFailed(found)
            if time.monotonic() - started > timeout_seconds:
                raise WaitedTooLong(found, timeout_seconds)
            await self._waited(self._sleep(poll_seconds))

    @_method
    async def start_experiment(
        self,
        /,
        task: Task,
        name: str,
        arms: Mapping[str, float] | Sequence[str],
        *,
        margin: float | None = None,
        **more: Any,
    ) -> Experiment:
        """Starts an experiment: it splits requests of a pair of languages that name no variant between variants.

        `arms` has the weight of each variant, or only names of variants for equal weights. Differences of mean ratings
        and of win rates up to the `margin` do not matter. `more` has further fields of the request, such as
        `languages`.
        """
        weights = arms.items() if isinstance(arms, Mapping) else [(variant, 1.0) for variant in arms]
        posted = [{"variant": variant, "weight": weight} for variant, weight in weights]
        body = {"task": task, "name": name, "arms": posted, **without_none({"margin": margin}), **more}
        # Not repeatable: the service would refuse the second request, since the experiment of the first one runs.
        return await self._answer(Experiment, Request("POST", "/experiments", body=body, is_repeatable=False))

    @_method
    async def experiment(self, identifier: str) -> Experiment:
        """Returns an experiment and its conclusion so far, which is valid at any time."""
        return await self._answer(Experiment, Request("GET", _path("experiments", identifier)))

    @_method
    async def experiments(self) -> list[ExperimentState]:
        """Returns the newest experiments, without their conclusions."""
        return await self._answer(list[ExperimentState], Request("GET", "/experiments"), key="experiments")

    @_method
    async def stop_experiment(self, identifier: str) -> Experiment:
        """Stops an experiment, and returns its conclusion."""
        return await self._answer(Experiment, Request("POST", _path("experiments", identifier, "stop")))

    @_method
    async def promote_arm(self, identifier: str, arm: str | None = None) -> Experiment:
        """Stops an experiment, and makes an arm, by default the arm that is ahead, the default of its pair."""
        request = Request("POST", _path("experiments", identifier, "promote"), {"arm": arm})
        return await self._answer(Experiment, request)

    @_method
    async def delete_experiment(self, identifier: str) -> None:
        """Deletes an experiment that has stopped, with its ratings and votes."""
        await self._answer(type(None), Request("DELETE", _path("experiments", identifier)))

    @_method
    async def rate(self, /, response: str, rating: float, *, unit: str | None = None, **more: Any) -> Feedback:
        """Rates the response with this `id` from 0 (bad) to 1 (good).

        `unit` identifies who rates; None: the `unit` of the request.
        """
        return await self._judge({"response": response, "rating": rating, **more}, unit)

    @_method
    async def vote(
        self, /, comparison: str, preferred: str | None, *, unit: str | None = None, **more: Any
    ) -> Feedback:
        """Says which variant of the comparison with this `id` has the better outputs. None: all are equally good.

        `unit` identifies who votes; None: the `unit` of the comparison.
        """
        return await self._judge({"comparison": comparison, "preferred": preferred, **more}, unit)

    async def _evaluation(self, identifier: str) -> Evaluation:
        return await self._answer(Evaluation, Request("GET", _path("evaluations", identifier)))

    async def _judge(self, body: Mapping[str, Any], unit: str | None) -> Feedback:
        # Not repeatable: if the first request was received, the service would refuse the second judgement.
        headers = headers_of({"unit": unit})
        request = Request("POST", "/feedback", body=body, headers=headers, is_repeatable=False)
        return await self._answer(Feedback, request)


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
    _sleep = staticmethod(time.sleep)
    _read = staticmethod(httpx2.Response.read)
    _close = staticmethod(httpx2.Response.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def stream(self, task: Task, text: Texts, **options: Unpack[ChosenOptions]) -> Iterator[Piece | Generation]:
        """Yields pieces of the outputs as they are generated, and at last the whole answer. See `generate`.

        To stop early, close the iterator: the service stops generating.
        """
        stream = self._stream(task, text, options)
        try:
            while True:
                yield self._run(anext(stream))
        except StopAsyncIteration:
            return
        finally:
            self._run(stream.aclose())

    @staticmethod
    def _run(coroutine: Awaitable[T]) -> T:
        """Runs a coroutine that never suspends: its first step is its last one, which raises `StopIteration`."""
        try:
            coroutine.__await__().send(None)
        except StopIteration as ended:
            answer: T = ended.value
            return answer
        raise AssertionError("a coroutine of Client has suspended")

    async def _events(self, source: Any) -> AsyncIterator[httpx2.ServerSentEvent]:
        for event in source:
            yield event

    async def _waited(self, result: Any) -> Any:
        return result


class AsyncClient(_Methods):
    """`Client` for asyncio: its methods are awaited. It may be shared by tasks."""

    _library = httpx2.AsyncClient
    _sleep = staticmethod(asyncio.sleep)
    _read = staticmethod(httpx2.Response.aread)
    _close = staticmethod(httpx2.Response.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    def stream(self, task: Task, text: Texts, **options: Unpack[ChosenOptions]) -> AsyncIterator[Piece | Generation]:
        """Yields pieces of the outputs as they are generated, and at last the whole answer. See `Client.stream`."""
        return self._stream(task, text, options)

    @staticmethod
    def _run(coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        return coroutine

    def _events(self, source: Any) -> AsyncIterator[httpx2.ServerSentEvent]:
        return cast(AsyncIterator[httpx2.ServerSentEvent], aiter(source))

    async def _waited(self, result: Awaitable[Any]) -> Any:
        return await result
