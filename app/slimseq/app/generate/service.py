"""The service of `/translate` and `/summarize`: from a call (prompt and choice of a variant) to a measured response.

The steps, in order:

1. Select the variant.
2. Count the characters for the caller's key.
3. Lease the loaded variant.
4. Plan the prompt.
5. Generate through the variant's queue.
6. Check and repair the outputs.
7. Measure and count the response.

Arms of experiments are in `arms`, translations by way of a pivot language in `chain`, events of streams in `events`.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from slimseq.answers import ExperimentArm, Timings
from slimseq.app.errors import InvalidRequest
from slimseq.app.generate.arms import Arms
from slimseq.app.generate.call import Call, with_languages
from slimseq.app.generate.chain import join_responses, translate_into_pivot
from slimseq.app.generate.events import EventStream, with_first
from slimseq.app.generate.glossaries import GlossaryFolder
from slimseq.app.generate.planner import Planner, answer_size, planning_size, run_passes
from slimseq.app.generate.schemas import GenerationResponse, make_output
from slimseq.app.observability.service_metrics import LatencyWindow, ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request import Due, Generated, Listener, QueuedRequest
from slimseq.app.serving.pool.loading import LoadedVariant
from slimseq.app.serving.pool.pool import Pool, Slot
from slimseq.app.serving.selection.chooser import Chooser, Selection
from slimseq.app.serving.traffic import Answered, Traffic
from slimseq.app.settings import Settings
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.plan import most_with, plan
from slimseq.inference.text.repair import plan_repair
from slimseq.inference.text.rows import Plan, Prompt, RowPasses
from slimseq.inference.text.sentences import Check
from slimseq.models_store.errors import SlimseqError

# Called with each answer to a live request, such as to shadow it. It must return at once.
OnAnswer = Callable[[Prompt, GenerationResponse], None]


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
        self._arms = Arms(self._chooser.defaults, self._traffic)

    @property
    def max_text_characters(self) -> int:
        return self._settings.max_text_characters

    @property
    def max_seconds(self) -> float:
        """The longest deadline of a request."""
        return self._settings.request_timeout_seconds

    async def generate(self, call: Call) -> GenerationResponse:
        """Generates from a prompt with the selected variant. If an experiment runs, its arm is the variant."""
        self._begin(call)
        try:
            selection = self._select(call)
            await _admit(call, selection)
            response = await self.answer(call, selection)
        except Exception as error:
            self._arms.count_failure(call, error)
            raise
        self._report_answer(call, response)
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
            self._arms.count_failure(call, error)
            raise

    async def answer(self, call: Call, selection: Selection | None = None) -> GenerationResponse:
        """Answers a call whose characters the caller has counted. Without a selection, it selects the variant."""
        slot = await self._lease(call, selection or self._select(call))
        try:
            loaded = slot.load.result()
            planned = await self._plan(call, loaded)
            generated = await self._generate_rows(call, loaded, planned)
            return await self._respond(call, loaded, planned, generated)
        finally:
            await self._pool.release(slot)

    async def _stream(self, call: Call, selection: Selection) -> AsyncIterator[bytes]:
        async with AsyncExitStack() as held:
            slot = await self._lease(call, selection)
            held.push_async_callback(self._pool.release, slot)
            loaded = slot.load.result()
            planned = await self._plan(call, loaded)
            stream = EventStream(loaded.worker, loaded.generator, planned, call.terms.due, self._planner)
            request = loaded.worker.submit(_queued_request(planned, call.terms.due, stream))

            async def respond(generated: Generated) -> GenerationResponse:
                response = await self._respond(call, loaded, planned, generated)
                self._report_answer(call, response)
                return response

            events = stream.events(request, respond, lambda error: self._arms.count_failure(call, error))
            first_event = await anext(events)
            # From here on, the stream releases the slot.
            return with_first(first_event, events, held.pop_all())

    def check_size(self, prompt: Prompt, outputs: int = 1) -> None:
        """Checks the number of texts and of their characters. Several outputs of each text share the characters."""
        max_characters = self._settings.max_text_characters // outputs
        for size, limit, unit in (
            (len(prompt.texts), self._settings.max_texts, "entries"),
            (prompt.characters, max_characters, "characters"),
        ):
            if size > limit:
                reason = f" with {outputs} outputs of each text" if outputs > 1 else ""
                raise InvalidRequest(f"text: has {size} {unit}; at most {limit} are allowed{reason}")

    def _begin(self, call: Call) -> None:
        """Checks the size of a call, and assigns its arm while an experiment runs."""
        self.check_size(call.prompt)
        if not call.choice.speculate:
            call.prompt = replace(call.prompt, speculate=False)
        if self._traffic.splits:
            self._arms.assign(call)

    def _report_answer(self, call: Call, response: GenerationResponse) -> None:
        if self._on_answer is not None:
            self._on_answer(call.prompt, response)

    async def _generate_rows(self, call: Call, loaded: LoadedVariant, planned: Plan) -> Generated:
        """Returns the outputs of the rows of a plan, after all their passes."""
        request = loaded.worker.submit(_queued_request(planned, call.terms.due))
        generated = await loaded.worker.wait(request)
        if planned.passes:
            return await self._run_passes(call, loaded, planned, generated)
        return generated

    async def _run_passes(self, call: Call, loaded: LoadedVariant, planned: Plan, first: Generated) -> Generated:
        """Returns the outputs of the rows of a plan after all passes, given the outputs of the first pass."""
        passes = RowPasses(loaded.generator, planned)
        due = call.terms.due
        async with due.limited():
            queue_seconds, inference_seconds = await run_passes(
                passes, loaded.worker, enumerate(first.outputs), due, self._planner
            )
        return replace(
            first,
            outputs=passes.in_order,
            queue_seconds=first.queue_seconds + queue_seconds,
            inference_seconds=first.inference_seconds + inference_seconds,
        )

    async def _respond(
        self, call: Call, loaded: LoadedVariant, planned: Plan, generated: Generated
    ) -> GenerationResponse:
        """Assembles the texts of a call, checks and measures them, and counts the response."""
        due = call.terms.due
        size = answer_size(planned, generated.outputs)
        outputs, warnings = await self._planner.run(partial(planned.checked, generated.outputs), size, due)
        if planned.needs_repair(warnings):
            work = partial(plan_repair, loaded.generator, planned, generated.outputs, warnings)
            repair = await self._planner.run(work, size, due)
            generated = await self._run_passes(call, loaded, repair, generated)
            outputs, warnings = await self._planner.run(partial(planned.checked, generated.outputs), size, due)

        timings = self._measure(call, loaded, generated, outputs)
        task, variant, arm = loaded.key.task, loaded.key.variant, call.assignment
        warned_kinds = [warning.kind for of_output in warnings for warning in of_output]
        repaired_kinds = [kind for output in outputs for kind in output.repaired]
        self._metrics.checked(task, variant, warned_kinds, repaired_kinds)

        response = GenerationResponse(
            id=self._traffic.response_id(task, Answered(variant, loaded.digest), arm),
            task=task,
            variant=variant,
            digest=loaded.digest,
            runtime=loaded.runtime,
            outputs=[
                make_output(output, of_output, planned.manifest)
                for output, of_output in zip(outputs, warnings, strict=True)
            ],
            timings=timings,
            selection=call.reason,
            experiment=ExperimentArm(id=arm.experiment, arm=arm.arm) if arm is not None else None,
        )
        if arm is not None and not call.is_compared:
            self._traffic.count(task, arm)
        if call.pivot_response is None:
            return response
        return join_responses(call.pivot_response, response, call.prompt)

    def _measure(
        self, call: Call, loaded: LoadedVariant, generated: Generated, outputs: Sequence[TextOutput]
    ) -> Timings:
        """Records how long a call took and its tokens, in the metrics and in the window of latencies."""
        task, variant = loaded.key.task, loaded.key.variant
        total_seconds = time.monotonic() - call.started
        timings = Timings(
            queue_ms=_milliseconds(generated.queue_seconds),
            inference_ms=_milliseconds(generated.inference_seconds),
            total_ms=_milliseconds(total_seconds),
        )
        self._latency.record(task, variant, timings.queue_ms, timings.inference_ms, timings.total_ms)
        # In the order of `slimseq.app.observability.service_metrics.DURATIONS`.
        durations = (
            generated.queue_seconds,
            generated.inference_seconds,
            total_seconds,
            generated.first_token_seconds,
            generated.token_seconds,
        )
        input_tokens = sum(output.input_tokens for output in outputs)
        output_tokens = sum(output.output_tokens for output in outputs)
        self._metrics.generation_ended(task, variant, durations, (input_tokens, output_tokens))
        return timings

    async def _plan(self, call: Call, loaded: LoadedVariant) -> Plan:
        started = time.monotonic()

        def work(check: Check) -> Plan:
            prompt = call.prompt
            if isinstance(prompt.glossary, str):
                # Reading the glossary from its file may take long, so it is read here, off the event loop.
                prompt = replace(prompt, glossary=self.glossaries.named(prompt.glossary))
            return plan(loaded.generator, prompt, self._settings.queue_rows, check)

        planned = await self._planner.run(work, planning_size(call.prompt), call.terms.due, is_new=True)
        # The options are only known now: an option that the request leaves out has the variant's own value.
        beams = planned.options.num_beams
        count = len(call.prompt.texts)
        limit = most_with(beams, self._settings.max_texts)
        if count > limit:
            raise InvalidRequest(f"text: has {count} entries; at most {limit} with num_beams {beams}")
        self.check_size(call.prompt, planned.options.num_return_sequences)
        if self._traces:
            self._traces.planned(str(loaded.key), started, len(planned.rows))
        return planned

    def _select(self, call: Call) -> Selection:
        """Selects the variant of a call, and completes the languages of its prompt."""
        try:
            selection = self._chooser.select(call.task, call.choice, call.prompt.languages)
        except SlimseqError:
            has_left_arm = self._arms.leave(call)
            if not has_left_arm:
                raise
            return self._select(call)
        call.reason = selection.reason
        if selection.pair is not None:
            call.prompt = with_languages(call.prompt, call.task, selection.pair)
        return selection

    async def _lease(self, call: Call, selection: Selection) -> Slot:
        """Leases the selected variant.

        If it cannot be loaded, the next best answers, unless the request names the variant. For a translation by way
        of a pivot language, the texts are translated into the pivot first. Then the variant for the target is selected.
        """
        while True:
            try:
                if selection.pivot is None:
                    return await self._pool.acquire(call.task, selection.variant, call.choice.runtime, call.terms.due)
                await translate_into_pivot(call, selection.pivot, selection.variant, self._pool, self.answer)
            except SlimseqError:
                another = self._select_another(call, selection)
                if another is None:
                    raise
                selection = another
            else:
                selection = self._select(call)

    def _select_another(self, call: Call, failed: Selection) -> Selection | None:
        """Returns what is selected in place of a variant that failed. None if nothing else can answer."""
        if self._arms.leave(call):
            return self._select(call)
        # The failure is recorded by now, so that another variant is selected where there is one.
        another = self._select(call)
        return another if another.variant != failed.variant else None


async def _admit(call: Call, selection: Selection) -> None:
    """Counts the characters that variants will read against the limits of the key. Two variants read them twice."""
    readers = 1 if selection.pivot is None else 2
    await call.admission.characters(counted_characters(call.prompt) * readers)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def counted_characters(prompt: Prompt) -> int:
    """Returns the characters of a prompt that count for a key: its texts, and what it brings to be found in them."""
    other_texts = [*prompt.keep, *prompt.stop, prompt.prefix or ""]
    if isinstance(prompt.glossary, Mapping):
        other_texts += [*prompt.glossary.keys(), *prompt.glossary.values()]
    return prompt.characters + sum(map(len, other_texts))


def _queued_request(planned: Plan, due: Due, listener: Listener | None = None) -> QueuedRequest:
    """Returns the rows of a plan as a request."""
    return QueuedRequest(
        planned.rows,
        planned.options,
        due,
        listener,
        planned.prompt.stop,
        # Stop strings end rows with passes only after their last pass.
        unstopped=planned.passes.keys(),
        # Documents have equal texts, such as the cells of a table.
        has_equal_rows=planned.documents is not None,
    )
