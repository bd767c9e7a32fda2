"""The service of `/translate` and `/summarize`: from a prompt and a choice of variant to a measured response.

It selects a variant, counts what the caller uses, plans the prompt, lets the variant's worker generate, and measures
and counts the response.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from slimseq.answers import ExperimentArm, Timings
from slimseq.app.errors import InternalError, InvalidRequest
from slimseq.app.generate.chain import chained, joined
from slimseq.app.generate.events import EventStream
from slimseq.app.generate.glossaries import GlossaryFolder
from slimseq.app.generate.planner import Planner, answer_size, planning_size, run_passes
from slimseq.app.generate.schemas import GenerationResponse, make_output
from slimseq.app.http.callers import Admission
from slimseq.app.http.problems import problem_type
from slimseq.app.observability.service_metrics import LatencyWindow, ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request import Due, Generated, Listener, QueuedRequest
from slimseq.app.serving.pool.loading import LoadedVariant
from slimseq.app.serving.pool.pool import Pool, Slot
from slimseq.app.serving.selection.chooser import Chooser, RequestedVariant, Selection
from slimseq.app.serving.selection.language_pairs import Pair, own_pair, serves
from slimseq.app.serving.traffic import ERRORS, Answered, Assignment, Traffic
from slimseq.app.settings import Settings
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.plan import choose_options, most_with, plan
from slimseq.inference.text.repair import plan_repair
from slimseq.inference.text.rows import Plan, Prompt, RowPasses
from slimseq.inference.text.sentences import Check
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

# Languages of a translation.
PAIR = 2
# Called with each answer to a live request. It must return at once.
OnAnswer = Callable[[Prompt, GenerationResponse], None]


class CallTerms(NamedTuple):
    """What a request says beside its texts and the choice of its variant. The `unit` keeps its arm of an experiment."""

    due: Due
    unit: str | None = None


@dataclass
class Call:
    """A request for a generation, and what is found out while it is answered.

    Args:
        started: time of `time.monotonic`.
        assignment: the arm of an experiment that the answer counts for.
        is_compared: whether the call is a part of a comparison.
        reason: why limits of the request selected the variant.
        first: the translation into a pivot language, whose texts the prompt then has.
    """

    task: Task
    prompt: Prompt
    choice: RequestedVariant
    terms: CallTerms
    admission: Admission
    started: float = field(default_factory=time.monotonic)
    assignment: Assignment | None = None
    is_compared: bool = False
    reason: str | None = None
    first: GenerationResponse | None = None

    @property
    def due(self) -> Due:
        return self.terms.due


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
    _on_answer: OnAnswer | None = None
    _traces: Traces | None = None

    def __post_init__(self) -> None:
        self.glossaries = GlossaryFolder(self._settings.glossaries)

    @property
    def max_text_characters(self) -> int:
        return self._settings.max_text_characters

    @property
    def max_seconds(self) -> float:
        """The longest deadline of a request."""
        return self._settings.request_timeout_seconds

    async def generate(self, call: Call) -> GenerationResponse:
        """Generates from a prompt with the selected variant, or with that of its arm if an experiment runs."""
        self._begin(call)
        try:
            selection = self._select(call)
            await _admit(call, selection)
            response = await self.answer(call, selection)
        except Exception as error:
            self._count_failure(call, error)
            raise
        self._answered(call, response)
        return response

    async def stream(self, call: Call) -> AsyncIterator[bytes]:
        """Generates as `generate` does, as Server-Sent Events. It returns when the first event is there.

        Raises:
            SlimseqError: as `generate` does, before the first piece. Later errors become an `error` event.
        """
        self._begin(call)
        try:
            selection = self._select(call)
            await _admit(call, selection)
            return await self._stream(call, selection)
        except Exception as error:
            self._count_failure(call, error)
            raise

    async def answer(self, call: Call, selection: Selection | None = None) -> GenerationResponse:
        """Answers a call whose characters are counted, with the variant that was selected for it if one was."""
        slot = await self._lease(call, selection or self._select(call))
        try:
            loaded = slot.load.result()
            planned = await self._plan(call, loaded)
            return await self._response(call, loaded, planned, await self._generated(call, loaded, planned))
        finally:
            await self._pool.release(slot)

    async def _stream(self, call: Call, selection: Selection) -> AsyncIterator[bytes]:
        async with AsyncExitStack() as held:
            slot = await self._lease(call, selection)
            held.push_async_callback(self._pool.release, slot)
            loaded = slot.load.result()
            planned = await self._plan(call, loaded)
            stream = EventStream(loaded.worker, loaded.generator, planned, call.due, self._planner)
            request = loaded.worker.submit(_queued(planned, call.due, stream))

            async def answer(generated: Generated) -> GenerationResponse:
                response = await self._response(call, loaded, planned, generated)
                self._answered(call, response)
                return response

            events = stream.events(request, answer, lambda error: self._count_failure(call, error))
            return _after_first(await anext(events), events, held.pop_all())

    def check_size(self, prompt: Prompt, outputs: int = 1) -> None:
        """Checks the number of texts and of their characters, which all of so many outputs of a text may have."""
        texts = len(prompt.texts), self._settings.max_texts, "entries"
        characters = prompt.characters, self._settings.max_text_characters // outputs, "characters"
        for size, most, what in (texts, characters):
            if size > most:
                where = f" with {outputs} outputs of each text" if outputs > 1 else ""
                raise InvalidRequest(f"text: has {size} {what}; at most {most} are allowed{where}")

    def _begin(self, call: Call) -> None:
        """Checks the size of a call, and finds its arm if it leaves the variant to the service."""
        self.check_size(call.prompt)
        if not call.choice.speculate:
            call.prompt = replace(call.prompt, speculate=False)
        # A runtime that not every arm has would be one arm's alone.
        if not self._traffic.splits or not call.choice.is_open or call.choice.runtime is not None:
            return
        pair = self._chooser.defaults.find_pair(call.task, call.prompt.languages)
        assignment = self._traffic.assign(call.task, pair, call.terms.unit)
        if assignment is None or pair is None:
            return
        manifest = self._chooser.defaults.find_manifest(call.task, assignment.arm)
        if manifest is not None:
            if not serves(manifest, pair):
                # Another artifact is in its place since the experiment was started.
                return
            if own_pair(manifest) != pair:
                call.prompt = with_languages(call.prompt, call.task, pair)
        call.assignment = assignment
        call.choice = replace(call.choice, variant=assignment.arm)

    def _answered(self, call: Call, response: GenerationResponse) -> None:
        if self._on_answer is not None:
            self._on_answer(call.prompt, response)

    def _count_failure(self, call: Call, error: Exception) -> None:
        """Counts a failure of the service as one of the call's arm. A client that disconnects is none."""
        problem = problem_type(error if isinstance(error, SlimseqError) else InternalError())
        if call.assignment is not None and problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._traffic.count(call.task, call.assignment, ERRORS)

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

    async def _response(
        self, call: Call, loaded: LoadedVariant, planned: Plan, generated: Generated
    ) -> GenerationResponse:
        """Assembles the texts of a call, checks and measures them, and counts the response."""
        size = answer_size(planned, generated.outputs)
        outputs, warnings = await self._planner.run(partial(planned.checked, generated.outputs), size, call.due)
        if planned.needs_repair(warnings):
            work = partial(plan_repair, loaded.generator, planned, generated.outputs, warnings)
            generated = await self._passed(call, loaded, await self._planner.run(work, size, call.due), generated)
            outputs, warnings = await self._planner.run(partial(planned.checked, generated.outputs), size, call.due)
        timings = self._measured(call, loaded, generated, outputs)
        task, variant, arm = loaded.key.task, loaded.key.variant, call.assignment
        kinds = [each.kind for found in warnings for each in found]
        self._metrics.checked(task, variant, kinds, [kind for output in outputs for kind in output.repaired])
        response = GenerationResponse(
            id=self._traffic.response_id(task, Answered(variant, loaded.digest), arm),
            task=task,
            variant=variant,
            digest=loaded.digest,
            runtime=loaded.runtime,
            outputs=[
                make_output(output, found, planned.manifest) for output, found in zip(outputs, warnings, strict=True)
            ],
            timings=timings,
            selection=call.reason,
            experiment=ExperimentArm(id=arm.experiment, arm=arm.arm) if arm is not None else None,
        )
        if arm is not None and not call.is_compared:
            self._traffic.count(task, arm)
        return joined(call.first, response, call.prompt) if call.first else response

    def _measured(
        self, call: Call, loaded: LoadedVariant, generated: Generated, outputs: Sequence[TextOutput]
    ) -> Timings:
        """Records how long a call took and its tokens, in the metrics and in the window of latencies."""
        task, variant = loaded.key.task, loaded.key.variant
        seconds = generated.queue_seconds, generated.inference_seconds, time.monotonic() - call.started
        queue_ms, inference_ms, total_ms = (round(each * 1000, 3) for each in seconds)
        self._latency.record(task, variant, queue_ms, inference_ms, total_ms)
        durations = *seconds, generated.first_token_seconds, generated.token_seconds
        tokens = sum(output.input_tokens for output in outputs), sum(output.output_tokens for output in outputs)
        self._metrics.generation_ended(task, variant, durations, tokens)
        return Timings(queue_ms=queue_ms, inference_ms=inference_ms, total_ms=total_ms)

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
        most = most_with(beams, self._settings.max_texts)
        if count > most:
            raise InvalidRequest(f"text: has {count} entries; at most {most} with num_beams {beams}")
        self.check_size(call.prompt, planned.options.num_return_sequences)
        if self._traces:
            self._traces.planned(str(loaded.key), started, len(planned.rows))
        return planned

    def _select(self, call: Call) -> Selection:
        """Selects the variant of a call, and completes the languages of its prompt."""
        try:
            selection = self._chooser.select(call.task, call.choice, call.prompt.languages)
        except SlimseqError:
            if not self._leave_arm(call):
                raise
            return self._select(call)
        call.reason = selection.reason
        if selection.pair is not None:
            call.prompt = with_languages(call.prompt, call.task, selection.pair)
        return selection

    async def _lease(self, call: Call, selection: Selection) -> Slot:
        """Leases the selected variant.

        If it cannot be loaded, the next best answers, unless the request names the variant. A translation by way of a
        pivot language is first translated into that.
        """
        while True:
            try:
                if selection.pivot is None:
                    return await self._pool.acquire(call.task, selection.variant, call.choice.runtime, call.due)
                await self._translate_into(call, selection.pivot, selection.variant)
            except SlimseqError:
                another = self._select_another(call, selection)
                if another is None:
                    raise
                selection = another
            else:
                selection = self._select(call)

    def _select_another(self, call: Call, failed: Selection) -> Selection | None:
        """Returns what is selected in place of a variant that failed. None if nothing else can answer."""
        if self._leave_arm(call):
            return self._select(call)
        # The failure is recorded by now, so that another variant is selected where there is one.
        another = self._select(call)
        return another if another.variant != failed.variant else None

    def _leave_arm(self, call: Call) -> bool:
        """Lets the default variant answer in place of an arm's that cannot. Returns False if the call has no arm.

        The client did not ask for the arm. It counts as an error of the arm.
        """
        if call.assignment is None or call.is_compared:
            return False
        self._traffic.count(call.task, call.assignment, ERRORS)
        call.assignment, call.choice = None, replace(call.choice, variant=None)
        return True

    async def _translate_into(self, call: Call, pivot: str, second: str) -> None:
        """Translates the texts of a call into the pivot, in which the second variant reads them.

        What the second one refuses is refused before.
        """
        async with call.due.limited(), self._pool.lease(call.task, second, call.choice.runtime) as loaded:
            choose_options(loaded.generator, replace(call.prompt, source=pivot))
        if call.prompt.glossary:
            raise InvalidRequest(f"glossary: no variant translates this pair but by way of {pivot}, which has no terms")
        prompt = replace(call.prompt, target=pivot, stop=())
        first = await self.answer(replace(call, prompt=prompt))
        call.first = first.model_copy(update={"through": [chained(prompt, first)]})
        call.prompt = replace(call.prompt, source=pivot, texts=[output.text for output in first.outputs])
        call.started = time.monotonic()


async def _admit(call: Call, selection: Selection) -> None:
    """Counts the characters that variants will read against the limits of the key. Two variants read them twice."""
    readers = 1 if selection.pivot is None else 2
    await call.admission.characters(counted_characters(call.prompt) * readers)


def with_languages(prompt: Prompt, task: Task, pair: Pair | None) -> Prompt:
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
