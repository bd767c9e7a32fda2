"""The answer to a request: from generated rows to a measured response, which latencies, metrics and traffic count."""

import time
from dataclasses import dataclass

from slimseq.app.http.schemas.generation import ExperimentArm, GenerationResponse, Output, Timings
from slimseq.app.observability.latency import LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.batching.request import Generated
from slimseq.app.serving.documents.plan import Plan, is_short
from slimseq.app.serving.documents.planner import Planner
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.output_checks import checked
from slimseq.app.serving.pool.loading import LoadedVariant
from slimseq.app.serving.selection.chooser import Choice
from slimseq.app.serving.terms import Due
from slimseq.app.serving.traffic import Assignment, Traffic
from slimseq.models_store.manifest import Task


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
        """Assembles the texts of a call, checks and measures them, and counts the response.

        Args:
            call: the request.
            loaded: the variant that generated.
            planned: what was generated.
            generated: all rows of the plan.

        Raises:
            DeadlineExceeded: the texts were not assembled and checked in time.
        """
        work = planned.assembling(generated.outputs)
        async with call.due.limited():
            outputs = await self._planner.run(work, planned.documents is None or is_short(call.prompt))
            warnings = await checked(loaded.generator.manifest, call.prompt, planned, generated.outputs, outputs)
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
            outputs=[
                Output.of(output, found, loaded.generator.manifest.confidence)
                for output, found in zip(outputs, warnings, strict=True)
            ],
            timings=timings,
            selection=call.reason,
            experiment=ExperimentArm(id=arm.experiment, arm=arm.arm) if (arm := call.assignment) else None,
        )
        if call.assignment is not None and not call.is_compared:
            self._traffic.count(task, call.assignment, timings.total_ms)
        return response
