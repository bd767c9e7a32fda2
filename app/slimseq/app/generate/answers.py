"""The answer to a request: from generated rows to a measured response, which latencies, metrics and traffic count."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.app.generate.schemas import ExperimentArm, GenerationResponse, Output, Timings
from slimseq.app.observability.latency import LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.batching.request import Generated
from slimseq.app.serving.documents.plan import DocumentOutput, Plan, compared_parts, size_of
from slimseq.app.serving.documents.planner import Planner, Size
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.pool.loading import LoadedVariant
from slimseq.app.serving.selection.chooser import Choice
from slimseq.app.serving.terms import Due
from slimseq.app.serving.traffic import Assignment, Traffic
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.segmenter import Check, unchecked
from slimseq.inference.text.warnings.checks import OutputWarning, output_warnings, untranslated
from slimseq.models_store.manifest import Manifest, Task

# Of sources and outputs together. To check so many takes about 2 ms.
SHORT_CHARACTERS = 8000


@dataclass
class Call:
    """A request while it is handled.

    Args:
        task: the task.
        prompt: texts and options.
        choice: the variant that it asks for, or that of its arm.
        started: when it arrived, of `time.monotonic`.
        due: when it expires, and its priority.
        assignment: its arm of an experiment, if it has one.
        is_compared: whether it is part of a comparison.
        reason: why its variant was selected, once it is and limits selected it.
    """

    task: Task
    prompt: Prompt
    choice: Choice
    started: float
    due: Due
    assignment: Assignment | None = None
    is_compared: bool = False
    reason: str | None = None


class Answers:
    """Makes the responses of a service, and counts them."""

    def __init__(self, planner: Planner, latency: LatencyWindow, metrics: ServiceMetrics, traffic: Traffic) -> None:
        self._planner = planner
        self._latency = latency
        self._metrics = metrics
        self._traffic = traffic

    async def of(self, call: Call, loaded: LoadedVariant, planned: Plan, generated: Generated) -> GenerationResponse:
        """Assembles the texts of a call, checks and measures them, and counts the response."""
        manifest, rows = loaded.generator.manifest, generated.outputs
        outputs, warnings = await self._planner.run(
            lambda check: checked_outputs(manifest, call.prompt, planned, rows, check),
            _size_of(call.prompt, planned, rows),
        )
        total_seconds = time.monotonic() - call.started
        queue_seconds, inference_seconds = generated.queue_seconds, generated.inference_seconds
        task, variant = loaded.key.task, loaded.key.variant
        timings = Timings(
            queue_ms=round(queue_seconds * 1000, 3),
            inference_ms=round(inference_seconds * 1000, 3),
            total_ms=round(total_seconds * 1000, 3),
        )
        self._latency.record(task, variant, timings.queue_ms, timings.inference_ms, timings.total_ms)
        tokens = sum(output.input_tokens for output in outputs), sum(output.output_tokens for output in outputs)
        self._metrics.generation_ended(task, variant, queue_seconds, inference_seconds, total_seconds, tokens)
        self._metrics.warned(task, variant, [each.kind for found in warnings for each in found])
        response = GenerationResponse(
            id=self._traffic.response_id(task, variant, loaded.digest, call.assignment),
            task=task,
            variant=variant,
            digest=loaded.digest,
            runtime=loaded.runtime,
            outputs=[Output.of(output, found, manifest) for output, found in zip(outputs, warnings, strict=True)],
            timings=timings,
            selection=call.reason,
            experiment=ExperimentArm(id=arm.experiment, arm=arm.arm) if (arm := call.assignment) else None,
        )
        if call.assignment is not None and not call.is_compared:
            self._traffic.count(task, call.assignment, timings.total_ms)
        return response


def checked_outputs(
    manifest: Manifest, prompt: Prompt, planned: Plan, rows: Sequence[TextOutput], check: Check = unchecked
) -> tuple[list[TextOutput], list[list[OutputWarning]]]:
    """Returns the output of each text, and the warnings about it, given the outputs of the plan's rows."""
    outputs = planned.assemble(rows, check)
    warnings = []
    parts = compared_parts(manifest.task, prompt, planned, rows, outputs)
    for text, own, output in zip(planned.plain, parts, outputs, strict=True):
        check()
        warnings.append(output_warnings(manifest.task, manifest.languages, text, own))
        if isinstance(output, DocumentOutput) and output.untranslated:
            warnings[-1].append(untranslated(output.untranslated))
    return outputs, warnings


def _size_of(prompt: Prompt, planned: Plan, rows: Sequence[TextOutput]) -> Size:
    """Returns how long it takes to assemble and check outputs."""
    characters = prompt.characters + sum(len(row.text) for row in rows)
    is_short = characters <= SHORT_CHARACTERS and (planned.documents is None or size_of(prompt) is Size.SHORT)
    return Size.SHORT if is_short else Size.USUAL
