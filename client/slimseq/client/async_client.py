"""The client for asyncio. `slimseq.client.client` is the same for ordinary code."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from slimseq.client import calls
from slimseq.client.answers import Comparison, Evaluation, Generation, Piece, Quality, Variant
from slimseq.client.calls import Call, ChosenOptions, ComparedOptions, Task, Texts
from slimseq.client.errors import ClientError, Unreachable, WaitedTooLong, error_of
from slimseq.client.experiments import Experiment, ExperimentSummary, Feedback
from slimseq.client.retry import Retry

T = TypeVar("T")

# The service's own deadline is 60 s, and its answer that the deadline passed says more than a timeout.
TIMEOUT_SECONDS = 90.0
# The answer at the end of a stream is one event.
MAX_EVENT_BYTES = 64 * 1024 * 1024


class AsyncClient:
    """A client of the service at a URL. It may be shared by tasks, and keeps connections open until it is closed.

    Every method raises a `ClientError`: `ServiceProblem` if the service refuses or fails, `Unreachable` if it does not
    answer, `UnexpectedAnswer` if another program answers.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry: Retry = Retry(),  # noqa: B008 - it is frozen
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Makes a client. It connects with the first call.

        Args:
            url: the service's URL.
            token: sent as `Authorization: Bearer TOKEN`.
            timeout_seconds: maximum time to connect, and between two packets of an answer.
            retry: when a failed call is sent again.
            transport: another transport of httpx2, such as one with a proxy.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=timeout_seconds, transport=transport)
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

    async def generate(self, task: Task, text: Texts, **options: Unpack[ChosenOptions]) -> Generation:
        """Summarizes or translates.

        Args:
            task: `summarization` or `translation`.
            text: a text, or several.
            options: generation options, and in place of the task's default: a `variant` by name, or the best one
                within `min_retention`, `max_latency_ms` and `max_bytes`; a `runtime`. `deadline_ms` shortens the
                service's deadline, and `priority="low"` waits behind others. In an experiment, a `unit` keeps its arm.
        """
        return await self._send(calls.generate(task, text, options))

    async def summarize(self, text: Texts, **options: Unpack[ChosenOptions]) -> Generation:
        """Summarizes a text, or several. See `generate`."""
        return await self.generate("summarization", text, **options)

    async def translate(self, text: Texts, **options: Unpack[ChosenOptions]) -> Generation:
        """Translates a text, or several, sentence by sentence. See `generate`."""
        return await self.generate("translation", text, **options)

    async def stream(
        self, task: Task, text: Texts, **options: Unpack[ChosenOptions]
    ) -> AsyncIterator[Piece | Generation]:
        """Yields pieces of the outputs as they are generated, and last the whole answer. See `generate`.

        To stop early, close the iterator: the service stops generating.
        """
        call = calls.stream(task, text, options)
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
        raise calls.ended_early(str(response.request.url))

    async def compare(
        self,
        task: Task,
        variants: Sequence[str],
        text: Texts,
        *,
        runtime: str | None = None,
        **options: Unpack[ComparedOptions],
    ) -> Comparison:
        """Generates from the same text with 2 to 8 variants, one after the other. `unit` is who votes on them."""
        return await self._send(calls.compare(task, variants, text, runtime, options))

    async def variants(self) -> list[Variant]:
        """Returns all variants."""
        return await self._send(calls.variants())

    async def variant(self, task: Task, name: str) -> Variant:
        """Returns one variant, with its manifest as `manifest`."""
        return await self._send(calls.variant(task, name))

    async def quality(self, task: Task | None = None, variant: str | None = None) -> list[Quality]:
        """Returns the measured quality of all variants, or of one task or name."""
        return await self._send(calls.quality(task, variant))

    async def start_evaluation(
        self,
        task: Task,
        variants: Sequence[str],
        *,
        dataset: str | None = None,
        samples: int | None = None,
        pairs: Sequence[Mapping[str, str]] | None = None,
        **more: Any,
    ) -> Evaluation:
        """Starts an evaluation of variants. `wait` waits for its results.

        Args:
            task: of the variants.
            variants: their names.
            dataset: name of a data set, such as `sample`.
            samples: number of samples of it.
            pairs: instead of a data set, pairs of `source` and `target`, or of `document` and `summary`.
            more: further fields of the request that the service knows.
        """
        return await self._send(calls.start_evaluation(task, variants, dataset, samples, pairs, more))

    async def evaluation(self, identifier: str) -> Evaluation:
        """Returns an evaluation, with results once it succeeded."""
        return await self._send(calls.evaluation(identifier))

    async def evaluations(self) -> list[Evaluation]:
        """Returns the newest evaluations, without results."""
        return await self._send(calls.evaluations())

    async def cancel_evaluation(self, identifier: str) -> Evaluation:
        """Cancels an evaluation that has not ended, and deletes one that has. Returns its last state."""
        return await self._send(calls.evaluation(identifier, "DELETE"))

    async def start_experiment(
        self,
        task: Task,
        name: str,
        arms: Mapping[str, float] | Sequence[str],
        *,
        margin: float | None = None,
        **more: Any,
    ) -> Experiment:
        """Splits the traffic of a task between variants: that of requests that name none.

        Args:
            task: of the variants.
            name: what the experiment is to find out.
            arms: the weight of each variant, or their names for equal weights.
            margin: differences of mean ratings and of win rates up to this do not matter. None: the service's default.
            more: further fields of the request that the service knows.
        """
        return await self._send(calls.start_experiment(task, name, arms, margin, more))

    async def experiment(self, identifier: str) -> Experiment:
        """Returns an experiment and what it has shown so far, valid at any time at which one looks."""
        return await self._send(calls.experiment(identifier))

    async def experiments(self) -> list[ExperimentSummary]:
        """Returns the newest experiments, without what they have shown."""
        return await self._send(calls.experiments())

    async def stop_experiment(self, identifier: str) -> Experiment:
        """Stops an experiment, and returns what it has shown."""
        return await self._send(calls.stop_experiment(identifier))

    async def delete_experiment(self, identifier: str) -> None:
        """Deletes an experiment that has stopped, with its ratings and votes."""
        return await self._send(calls.delete_experiment(identifier))

    async def rate(self, response: str, rating: float, *, unit: str | None = None, **more: Any) -> Feedback:
        """Rates a response.

        Args:
            response: `id` of a generation.
            rating: from 0 (bad) to 1 (good).
            unit: who rates. None: the unit of the generation.
            more: further fields of the request that the service knows.
        """
        return await self._send(calls.feedback({"response": response, "rating": rating}, unit, more))

    async def vote(self, comparison: str, preferred: str | None, *, unit: str | None = None, **more: Any) -> Feedback:
        """Says which variant of a comparison has the better outputs.

        Args:
            comparison: `id` of a comparison.
            preferred: name of the variant. None: all are equally good.
            unit: who votes. None: the unit of the comparison.
            more: further fields of the request that the service knows.
        """
        return await self._send(calls.feedback({"comparison": comparison, "preferred": preferred}, unit, more))

    async def wait(
        self,
        evaluation: Evaluation,
        *,
        timeout_seconds: float | None = None,
        poll_seconds: float = 1.0,
        on_progress: Callable[[Evaluation], object] | None = None,
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
                raise WaitedTooLong(f"evaluation {evaluation.id} did not end within {timeout_seconds:g} s; it goes on")
            await asyncio.sleep(poll_seconds)
            evaluation = await self.evaluation(evaluation.id)
            if on_progress:
                on_progress(evaluation)
        return calls.check_ended(evaluation if evaluation.results else await self.evaluation(evaluation.id))

    async def _send(self, call: Call[T]) -> T:
        async def once() -> T:
            return call.result(await self._http.send(self._request(call)))

        return await self._repeat(call, once)

    def _request(self, call: Call[Any]) -> httpx2.Request:
        return self._http.build_request(call.method, call.path, params=call.query, json=call.body, headers=call.headers)

    async def _open(self, call: Call[Generation]) -> httpx2.Response:
        """Returns the response of a stream, whose body is not read yet."""
        response = await self._http.send(self._request(call), stream=True)
        if response.status_code >= calls.FIRST_ERROR:
            try:
                await response.aread()
            finally:
                await response.aclose()
            raise error_of(response)
        return response

    async def _repeat(self, call: Call[Any], once: Callable[[], Awaitable[T]]) -> T:
        """Runs one attempt after the other until one succeeds or its error is final."""
        for attempt in itertools.count(1):
            try:
                return await once()
            except httpx2.HTTPError as raised:
                error: ClientError = Unreachable.of(raised, calls.url_of(self._http.base_url, call))
                error.__cause__ = raised
            except ClientError as raised:
                error = raised
            seconds = self._retry.wait_seconds(attempt, error, call.is_repeatable)
            if seconds is None:
                raise error
            await asyncio.sleep(seconds)
        raise AssertionError
