"""The service of the generation routes: from a prompt and a choice of variant to a measured response.

It selects a variant, plans the prompt, lets the variant's worker generate, and measures and counts the response.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus

from slimseq.answers import ComparedGeneration, Comparison, ExperimentArm, FailedVariant, Timings
from slimseq.app.errors import AboveKeyLimit, InternalError, InvalidRequest, KeyLimitReached
from slimseq.app.failures import answer_to
from slimseq.app.generate.chain import chained, joined
from slimseq.app.generate.comparison import compare_with, reference_among
from slimseq.app.generate.events import EventStream
from slimseq.app.generate.glossaries import GlossaryFolder
from slimseq.app.generate.planner import Planner, answer_size, planning_size, run_passes
from slimseq.app.generate.schemas import GenerationResponse, Output
from slimseq.app.http.problems import problem_of, problem_type
from slimseq.app.observability.latency import LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request import Generated, Listener, QueuedRequest
from slimseq.app.serving.pool.loading import LoadedVariant
from slimseq.app.serving.pool.pool import Pool, Slot
from slimseq.app.serving.selection.chooser import Choice, Chooser
from slimseq.app.serving.selection.pairs import Pair, own_pair, serves
from slimseq.app.serving.terms import Due, Terms
from slimseq.app.serving.traffic import ERRORS, Answered, Assignment, Traffic
from slimseq.app.settings import Settings
from slimseq.inference.text.plan import choose_options, most_with, plan
from slimseq.inference.text.repair import plan_repair
from slimseq.inference.text.rows import Plan, Prompt, RowPasses
from slimseq.inference.text.sentences import Check
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

logger = logging.getLogger(__name__)

# Languages of a translation.
PAIR = 2
# Called with each answer to a live request. It must return at once.
OnAnswer = Callable[[Prompt, GenerationResponse], None]
# Called with the number of characters that variants will read. It raises if they are too many.
Admit = Callable[[int], Awaitable[None]]


@dataclass
class Call:
    """A request while it is handled: a part of a comparison, or one whose answer counts for its arm of an experiment.

    `started` is of `time.monotonic`. `reason` says why limits of the request selected the variant. The prompt has the
    texts of `first` if that is there, the translation into a pivot language. `admit` was not called yet.
    """

    task: Task
    prompt: Prompt
    choice: Choice
    started: float
    due: Due
    assignment: Assignment | None = None
    is_compared: bool = False
    reason: str | None = None
    first: GenerationResponse | None = None
    admit: Admit | None = None


@dataclass(eq=False)
class GenerationService:
    """Generates, streams and compares. There is one for each process, used from the event loop."""

    _settings: Settings
    _chooser: Chooser
    _pool: Pool
    _latency: LatencyWindow
    _metrics: ServiceMetrics
    _planner: Planner
    _traffic: Traffic
    _on_answer: OnAnswer = lambda prompt, response: None
    _traces: Traces | None = None

    def __post_init__(self) -> None:
        self.glossaries = GlossaryFolder(self._settings.glossaries)

    @property
    def max_text_characters(self) -> int:
        return self._settings.max_text_characters

    async def generate(
        self, task: Task, prompt: Prompt, choice: Choice, terms: Terms, admit: Admit | None = None
    ) -> GenerationResponse:
        """Generates from a prompt with the selected variant, or with that of its arm if an experiment runs."""
        call = self._call(task, prompt, choice, terms, admit)
        try:
            response = await self._generate(call)
        except Exception as error:
            self._count_failure(call, error)
            raise
        self._on_answer(call.prompt, response)
        return response

    async def stream(
        self, task: Task, prompt: Prompt, choice: Choice, terms: Terms, admit: Admit | None = None
    ) -> AsyncIterator[bytes]:
        """Generates as `generate` does, as Server-Sent Events. It returns when the first event is there.

        Raises:
            SlimseqError: as `generate` does, before the first piece. Later errors become an `error` event.
        """
        call = self._call(task, prompt, choice, terms, admit)
        try:
            return await self._stream(call)
        except Exception as error:
            self._count_failure(call, error)
            raise

    async def _stream(self, call: Call) -> AsyncIterator[bytes]:
        async with AsyncExitStack() as held:
            slot = await self._lease(call)
            held.push_async_callback(self._pool.release, slot)
            loaded = slot.load.result()
            planned = await self._plan(call, loaded)
            stream = EventStream(loaded.worker, loaded.generator, planned, call.due, self._planner)
            request = loaded.worker.submit(_queued(planned, call.due, stream))

            async def answer(generated: Generated) -> GenerationResponse:
                response = await self._answer(call, loaded, planned, generated)
                self._on_answer(call.prompt, response)
                return response

            events = stream.events(request, answer, lambda error: self._count_failure(call, error))
            return _after_first(await anext(events), events, held.pop_all())

    async def compare(
        self, task: Task, variants: Sequence[str], prompt: Prompt, runtime: str | None, terms: Terms
    ) -> Comparison:
        """Generates with several variants one after the other, so that timings are comparable. All share one deadline.

        Raises:
            InvalidRequest: a variant is named twice.
            UnsupportedLanguages: the variants are of different languages.
            UnknownVariant: there is no variant of a name. Other errors of a variant are in its result.
        """
        due = terms.due(self._settings.request_timeout_seconds)
        self.check_size(prompt, len(variants) * prompt.options.get("num_return_sequences", 1))
        if len(set(variants)) < len(variants):
            raise InvalidRequest("query parameter variant: names a variant twice")
        for name in variants:
            self._chooser.catalogue.entry(task, name)
        pair = self._chooser.shared_pair(task, variants, prompt.languages)
        prompt = _with_languages(prompt, task, pair)
        results: list[GenerationResponse | FailedVariant] = []
        for name in variants:
            try:
                choice, arm = Choice(name, runtime=runtime), self._traffic.arm_of(task, pair, name, terms.unit)
                call = Call(task, prompt, choice, time.monotonic(), due, arm, is_compared=True)
                results.append(await self._generate(call))
            except Exception as error:
                if not isinstance(error, SlimseqError):
                    logger.exception("unexpected exception in a comparison")
                answer = answer_to(error, f"{task}/{name} cannot answer")
                results.append(FailedVariant(variant=name, error=problem_of(answer)))
        answered = {result.variant: result for result in results if isinstance(result, GenerationResponse)}
        compared: list[ComparedGeneration | FailedVariant] = [
            each for each in results if isinstance(each, FailedVariant)
        ]
        if answered:
            name = reference_among(list(answered), self._chooser.references(task, variants))
            compared = await asyncio.to_thread(compare_with, answered[name], results)
        judgeable = [Answered(each.variant, each.digest) for each in answered.values()]
        comparison = self._traffic.comparison_id(task, pair, judgeable, terms.unit)
        return Comparison(id=comparison, task=task, results=compared)

    def check_size(self, prompt: Prompt, outputs: int = 1) -> None:
        """Checks the number of texts and of their characters, which all of so many outputs of a text may have."""
        texts = len(prompt.texts), self._settings.max_texts, "entries"
        characters = prompt.characters, self._settings.max_text_characters // outputs, "characters"
        for size, most, what in (texts, characters):
            if size > most:
                where = f" with {outputs} outputs of each text" if outputs > 1 else ""
                raise InvalidRequest(f"text: has {size} {what}; at most {most} are allowed{where}")

    def _call(self, task: Task, prompt: Prompt, choice: Choice, terms: Terms, admit: Admit | None) -> Call:
        """Returns the call of a request, with the arm that it belongs to if it leaves the variant to the service."""
        started, due = time.monotonic(), terms.due(self._settings.request_timeout_seconds)
        self.check_size(prompt)
        if not choice.speculate:
            prompt = replace(prompt, speculate=False)
        # A runtime that not every arm has would be one arm's alone.
        assignment = None
        if self._traffic.splits and choice.is_open and choice.runtime is None:
            pair = self._chooser.defaults.find_pair(task, prompt.languages)
            assignment = self._traffic.assign(task, pair, terms.unit)
            if assignment is not None and pair is not None:
                manifest = self._chooser.defaults.find_manifest(task, assignment.arm)
                if manifest is not None and not serves(manifest, pair):
                    # Another artifact is in its place since the experiment was started.
                    assignment = None
                elif manifest is not None and own_pair(manifest) != pair:
                    prompt = _with_languages(prompt, task, pair)
        if assignment is not None:
            choice = replace(choice, variant=assignment.arm)
        return Call(task, prompt, choice, started, due, assignment, admit=admit)

    def _count_failure(self, call: Call, error: Exception) -> None:
        """Counts a failure of the service as one of the call's arm. A client that disconnects is none."""
        problem = problem_type(error if isinstance(error, SlimseqError) else InternalError())
        if call.assignment is not None and problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._traffic.count(call.task, call.assignment, ERRORS)

    async def _generate(self, call: Call) -> GenerationResponse:
        slot = await self._lease(call)
        try:
            loaded = slot.load.result()
            planned = await self._plan(call, loaded)
            return await self._answer(call, loaded, planned, await self._generated(call, loaded, planned))
        finally:
            await self._pool.release(slot)

    async def _generated(self, call: Call, loaded: LoadedVariant, planned: Plan) -> Generated:
        """Returns the outputs of the rows of a plan, after all their passes."""
        generated = await loaded.worker.wait(loaded.worker.submit(_queued(planned, call.due)))
        return await self._passed(call, loaded, planned, generated) if planned.passes else generated

    async def _passed(self, call: Call, loaded: LoadedVariant, planned: Plan, first: Generated) -> Generated:
        """Returns the outputs of the rows of a plan after their passes, given those of the first one."""
        passes = RowPasses(loaded.generator, planned)
        async with call.due.limited():
            queued, seconds = await run_passes(passes, loaded.worker, enumerate(first.outputs), call.due, self._planner)
        seconds, queued = first.inference_seconds + seconds, first.queue_seconds + queued
        return replace(first, outputs=passes.in_order, queue_seconds=queued, inference_seconds=seconds)

    async def _answer(
        self, call: Call, loaded: LoadedVariant, planned: Plan, generated: Generated
    ) -> GenerationResponse:
        """Assembles the texts of a call, checks and measures them, and counts the response."""
        size = answer_size(planned, generated.outputs)
        outputs, warnings = await self._planner.run(partial(planned.checked, generated.outputs), size, call.due)
        if planned.needs_repair(warnings):
            work = partial(plan_repair, loaded.generator, planned, generated.outputs, warnings)
            generated = await self._passed(call, loaded, await self._planner.run(work, size, call.due), generated)
            outputs, warnings = await self._planner.run(partial(planned.checked, generated.outputs), size, call.due)
        queue_seconds, inference_seconds = generated.queue_seconds, generated.inference_seconds
        total_seconds = time.monotonic() - call.started
        task, variant = loaded.key.task, loaded.key.variant
        timings = Timings(
            queue_ms=round(queue_seconds * 1000, 3),
            inference_ms=round(inference_seconds * 1000, 3),
            total_ms=round(total_seconds * 1000, 3),
        )
        self._latency.record(task, variant, timings.queue_ms, timings.inference_ms, timings.total_ms)
        tokens = sum(output.input_tokens for output in outputs), sum(output.output_tokens for output in outputs)
        shown = generated.first_token_seconds, generated.token_seconds
        self._metrics.generation_ended(task, variant, (queue_seconds, inference_seconds, total_seconds, *shown), tokens)
        kinds = [each.kind for found in warnings for each in found]
        self._metrics.checked(task, variant, kinds, [kind for output in outputs for kind in output.repaired])
        response = GenerationResponse(
            id=self._traffic.response_id(task, Answered(variant, loaded.digest), call.assignment),
            task=task,
            variant=variant,
            digest=loaded.digest,
            runtime=loaded.runtime,
            outputs=[
                Output.of(output, found, planned.manifest) for output, found in zip(outputs, warnings, strict=True)
            ],
            timings=timings,
            selection=call.reason,
            experiment=ExperimentArm(id=arm.experiment, arm=arm.arm) if (arm := call.assignment) else None,
        )
        if call.assignment is not None and not call.is_compared:
            self._traffic.count(task, call.assignment)
        return joined(call.first, response, call.prompt) if call.first else response

    async def _plan(self, call: Call, loaded: LoadedVariant) -> Plan:
        started = time.monotonic()

        def work(check: Check) -> Plan:
            prompt = call.prompt
            if isinstance(prompt.glossary, str):
                # It may be read from its file, which takes long.
                prompt = replace(prompt, glossary=self.glossaries.named(prompt.glossary))
            return plan(loaded.generator, prompt, self._settings.queue_rows, check)

        planned = await self._planner.run(work, planning_size(call.prompt), call.due, is_new=True)
        beams, count = planned.options.num_beams, len(call.prompt.texts)
        if count > (most := most_with(beams, self._settings.max_texts)):
            raise InvalidRequest(f"text: has {count} entries; at most {most} with num_beams {beams}")
        self.check_size(call.prompt, planned.options.num_return_sequences)
        if self._traces:
            self._traces.planned(str(loaded.key), started, len(planned.rows))
        return planned

    async def _lease(self, call: Call) -> Slot:
        """Leases the variant of a request. If it is an arm's and cannot be loaded, the default variant answers.

        The client did not ask for the arm. It counts as an error of the arm.
        """
        try:
            return await self._lease_selected(call)
        except (AboveKeyLimit, KeyLimitReached):
            raise
        except SlimseqError:
            if call.assignment is None or call.is_compared:
                raise
            self._traffic.count(call.task, call.assignment, ERRORS)
            call.assignment, call.choice = None, replace(call.choice, variant=None)
            return await self._lease_selected(call)

    async def _lease_selected(self, call: Call) -> Slot:
        """Leases the selected variant, or the next best if it cannot be loaded and the request does not name it."""
        task, choice = call.task, call.choice
        while True:
            languages = call.prompt.languages
            selection = self._chooser.select(task, choice, languages)
            call.reason = selection.reason
            if selection.pair is not None:
                call.prompt = _with_languages(call.prompt, task, selection.pair)
            if call.admit:
                # Two variants read the texts twice.
                await call.admit(counted_characters(call.prompt) * (2 if selection.pivot else 1))
                call.admit = None
            try:
                if selection.pivot:
                    await self._translate_into(call, selection.pivot, selection.variant)
                    continue
                return await self._pool.acquire(task, selection.variant, choice.runtime, call.due)
            except SlimseqError:
                # The failure is recorded by now, so that the next choice is another variant where there is one.
                if self._chooser.select(task, choice, languages).variant == selection.variant:
                    raise

    async def _translate_into(self, call: Call, pivot: str, second: str) -> None:
        """Translates the texts of a call into the pivot, in which the second variant reads them.

        What the second one refuses is refused before.
        """
        async with call.due.limited(), self._pool.lease(call.task, second, call.choice.runtime) as loaded:
            choose_options(loaded.generator, replace(call.prompt, source=pivot))
        if call.prompt.glossary:
            raise InvalidRequest(f"glossary: no variant translates this pair but by way of {pivot}, which has no terms")
        prompt = replace(call.prompt, target=pivot, stop=())
        first = await self._generate(replace(call, prompt=prompt))
        call.first = first.model_copy(update={"through": [chained(prompt, first)]})
        call.prompt = replace(call.prompt, source=pivot, texts=[output.text for output in first.outputs])
        call.started = time.monotonic()


def _with_languages(prompt: Prompt, task: Task, pair: Pair | None) -> Prompt:
    """Returns a prompt that names the pair, for models of many languages."""
    if pair is None or task is not Task.TRANSLATION or len(pair) != PAIR:
        return prompt
    return replace(prompt, source=pair[0], target=pair[1])


def counted_characters(prompt: Prompt) -> int:
    """Returns the characters of a prompt that count for a key: its texts, and what is looked for in each of them."""
    beside = [*prompt.keep, *prompt.stop, prompt.prefix or ""]
    if isinstance(prompt.glossary, Mapping):
        beside += [*prompt.glossary.keys(), *prompt.glossary.values()]
    return prompt.characters + sum(map(len, beside))


def _queued(planned: Plan, due: Due, listener: Listener | None = None) -> QueuedRequest:
    """Returns the rows of a plan as a request. Stop strings end rows with passes only after their last pass.

    Documents have equal texts, such as the cells of a table.
    """
    return QueuedRequest(
        planned.rows,
        planned.options,
        due,
        listener,
        planned.prompt.stop,
        unstopped=planned.passes.keys(),
        has_equal_rows=planned.documents is not None,
    )


async def _after_first(first: bytes, events: AsyncGenerator[bytes], held: AsyncExitStack) -> AsyncIterator[bytes]:
    """Yields all events, and releases the variant at their end or when the client disconnects."""
    async with held, contextlib.aclosing(events):
        yield first
        async for event in events:
            yield event
