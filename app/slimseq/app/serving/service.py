"""The service of the generation routes: from a prompt and a choice of variant to a measured response."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from slimseq.app.errors import DeadlineExceeded, InvalidRequest
from slimseq.app.http.problems import problem_of
from slimseq.app.http.schemas.generation import CompareResponse, FailedVariant, GenerationResponse, Output, Timings
from slimseq.app.observability.latency import LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request import Generated
from slimseq.app.serving.documents.long_input import condense
from slimseq.app.serving.documents.plan import Plan, is_short, planning
from slimseq.app.serving.documents.planner import Planner, finished
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.pool.loading import LoadedVariant
from slimseq.app.serving.pool.pool import Pool
from slimseq.app.serving.selection.chooser import Choice, Chooser
from slimseq.app.serving.streaming.assembly import Assembly
from slimseq.app.serving.streaming.events import TokenRelay, generation_events
from slimseq.app.settings import Settings
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

# Called with each answer to a live request. It must return at once.
OnAnswer = Callable[[Prompt, GenerationResponse], None]


class GenerationService:
    """Generates, streams and compares. There is one for each process, used from the event loop."""

    def __init__(
        self,
        settings: Settings,
        chooser: Chooser,
        pool: Pool,
        latency: LatencyWindow,
        metrics: ServiceMetrics,
        planner: Planner,
        on_answer: OnAnswer = lambda prompt, response: None,
        traces: Traces | None = None,
    ) -> None:
        self._settings = settings
        self._planner = planner
        self._chooser = chooser
        self._pool = pool
        self._latency = latency
        self._metrics = metrics
        self._on_answer = on_answer
        self._traces = traces

    async def generate(self, task: Task, prompt: Prompt, choice: Choice) -> GenerationResponse:
        """Generates from a prompt with the selected variant.

        Raises:
            SlimseqError: what `Chooser.choose`, `Pool.lease`, `planning` and `RequestQueue.wait` raise.
        """
        started = time.monotonic()
        self._check_size(prompt)
        response = await self._generate(task, choice, prompt, started, self._deadline(started))
        self._on_answer(prompt, response)
        return response

    async def stream(self, task: Task, prompt: Prompt, choice: Choice) -> AsyncIterator[bytes]:
        """Generates as `generate` does, as Server-Sent Events. It returns when the first event is there.

        Raises:
            SlimseqError: as `generate` does, before the first piece. Later errors become an `error` event.
        """
        started = time.monotonic()
        self._check_size(prompt)
        deadline = self._deadline(started)
        async with AsyncExitStack() as held:
            loaded, planned = await self._prepare(held, task, choice, prompt, deadline)
            relay = TokenRelay()
            request = loaded.worker.submit(planned.rows, planned.options, deadline, relay, planned.stop)
            assembly = Assembly(
                planned.texts, loaded.generator.stream, loaded.generator.configuration.eos_id, planned.stop
            )

            def answer(generated: Generated) -> GenerationResponse:
                response = self._answer(loaded, planned, generated, started)
                self._on_answer(prompt, response)
                return response

            events = generation_events(loaded.worker, request, relay, assembly, answer)
            return _after_first(await anext(events), events, held.pop_all())

    async def compare(
        self, task: Task, variants: Sequence[str], prompt: Prompt, runtime: str | None = None
    ) -> CompareResponse:
        """Generates with several variants one after the other, so that timings are comparable. All share one deadline.

        Raises:
            InvalidRequest: a variant is named twice.
            UnknownVariant: there is no variant of a name. Other errors of a variant are in its result.
        """
        started = time.monotonic()
        self._check_size(prompt)
        if len(set(variants)) < len(variants):
            raise InvalidRequest("query parameter variant: names a variant twice")
        for name in variants:
            self._chooser.check_exists(task, name)
        results: list[GenerationResponse | FailedVariant] = []
        for name in variants:
            try:
                deadline = self._deadline(started)
                choice = Choice(name, runtime=runtime)
                results.append(await self._generate(task, choice, prompt, time.monotonic(), deadline))
            except SlimseqError as error:
                results.append(FailedVariant(variant=name, error=problem_of(error)))
        return CompareResponse(task=task, results=results)

    async def _generate(
        self, task: Task, choice: Choice, prompt: Prompt, started: float, deadline: float
    ) -> GenerationResponse:
        async with AsyncExitStack() as held:
            loaded, planned = await self._prepare(held, task, choice, prompt, deadline)
            request = loaded.worker.submit(planned.rows, planned.options, deadline, stops=planned.stop)
            generated = await loaded.worker.wait(request)
            return self._answer(loaded, planned, generated, started)

    async def _prepare(
        self, held: AsyncExitStack, task: Task, choice: Choice, prompt: Prompt, deadline: float
    ) -> tuple[LoadedVariant, Plan]:
        """Leases a variant while `held` is open, and plans the prompt for it."""
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                loaded = await self._lease(held, task, choice)
                if prompt.long_input == "truncate":
                    return loaded, await self._plan(loaded, prompt)
                condensed = await condense(loaded.worker, loaded.generator, prompt, deadline, self._planner)
                return loaded, replace(
                    await self._plan(loaded, condensed.prompt),
                    read_tokens=condensed.read_tokens,
                    queue_seconds=condensed.queue_seconds,
                    inference_seconds=condensed.inference_seconds,
                )
        except TimeoutError:
            raise DeadlineExceeded(self._settings.request_timeout_seconds) from None

    async def _plan(self, loaded: LoadedVariant, prompt: Prompt) -> Plan:
        started = time.monotonic()
        work = planning(loaded.generator, prompt, self._settings.queue_rows)
        plan = finished(work) if is_short(prompt) else await self._planner.run(work)
        if self._traces:
            self._traces.planned(str(loaded.key), started, len(plan.rows))
        return plan

    async def _lease(self, held: AsyncExitStack, task: Task, choice: Choice) -> LoadedVariant:
        """Leases the selected variant, or the next best if it cannot be loaded and the request does not name it."""
        while True:
            name = self._chooser.choose(task, choice)
            try:
                return await held.enter_async_context(self._pool.lease(task, name, choice.runtime))
            except SlimseqError:
                # The failure is recorded by now, so that the next choice is another variant where there is one.
                if self._chooser.choose(task, choice) == name:
                    raise

    def _check_size(self, prompt: Prompt) -> None:
        if len(prompt.texts) > self._settings.max_texts:
            raise InvalidRequest(
                f"text: has {len(prompt.texts)} entries; at most {self._settings.max_texts} are allowed"
            )
        characters = sum(map(len, prompt.texts))
        if characters > self._settings.max_text_characters:
            raise InvalidRequest(
                f"text: has {characters} characters; at most {self._settings.max_text_characters} are allowed"
            )

    def _deadline(self, started: float) -> float:
        return started + self._settings.request_timeout_seconds

    def _answer(self, loaded: LoadedVariant, planned: Plan, generated: Generated, started: float) -> GenerationResponse:
        total_seconds = time.monotonic() - started
        outputs = planned.assemble(generated.outputs)
        queue_seconds = planned.queue_seconds + generated.queue_seconds
        inference_seconds = planned.inference_seconds + generated.inference_seconds
        task, variant = loaded.key.task, loaded.key.variant
        timings = Timings(
            queue_ms=round(queue_seconds * 1000, 3),
            inference_ms=round(inference_seconds * 1000, 3),
            total_ms=round(total_seconds * 1000, 3),
        )
        self._latency.record(task, variant, timings.queue_ms, timings.inference_ms, timings.total_ms)
        tokens = sum(output.input_tokens for output in outputs), sum(output.output_tokens for output in outputs)
        self._metrics.generation_ended(task, variant, queue_seconds, inference_seconds, total_seconds, tokens)
        return GenerationResponse(
            task=task,
            variant=variant,
            digest=loaded.digest,
            runtime=loaded.runtime,
            outputs=[Output.model_validate(output, from_attributes=True) for output in outputs],
            timings=timings,
        )


async def _after_first(first: bytes, events: AsyncGenerator[bytes], held: AsyncExitStack) -> AsyncIterator[bytes]:
    """Yields all events, and releases the variant at their end or when the client disconnects."""
    async with held, contextlib.aclosing(events):
        yield first
        async for event in events:
            yield event
