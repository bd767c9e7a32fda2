"""Latency of successful requests: a sliding window of measurements for each variant, and percentiles."""

import time
from collections import deque
from collections.abc import Callable

import numpy
from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Task

MAX_KEPT = 20_000


class Percentiles(BaseModel):
    """Percentiles of one phase, in milliseconds."""

    p50: float
    p95: float
    p99: float


class VariantLatency(BaseModel):
    """Latency of the requests of one variant."""

    task: Task
    variant: str
    count: int = Field(description="Requests in the window.")
    queue_ms: Percentiles = Field(description="Time in the queue, until generation started.")
    inference_ms: Percentiles = Field(description="Time from the start of generation to its end.")
    total_ms: Percentiles = Field(description="Total time, including variant selection, loading and tokenization.")


class LatencyReport(BaseModel):
    """Latency of successful requests in the sliding window."""

    window_seconds: float
    latencies: list[VariantLatency] = Field(description="One entry for each variant with requests in the window.")


class LatencyWindow:
    """The measurements of the last seconds, at most `MAX_KEPT` for each variant. Used from the event loop."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._measured: dict[tuple[Task, str], deque[tuple[float, tuple[float, float, float]]]] = {}

    def record(self, task: Task, variant: str, queue_ms: float, inference_ms: float, total_ms: float) -> None:
        measured = self._measured.setdefault((task, variant), deque(maxlen=MAX_KEPT))
        measured.append((self._clock(), (queue_ms, inference_ms, total_ms)))

    def report(self, task: Task | None = None, variant: str | None = None) -> LatencyReport:
        since = self._clock() - self._seconds
        latencies = []
        for key, measured in sorted(self._measured.items()):
            while measured and measured[0][0] < since:
                measured.popleft()
            if measured and task in (None, key[0]) and variant in (None, key[1]):
                latencies.append(_latency(*key, [times for _, times in measured]))
        return LatencyReport(window_seconds=self._seconds, latencies=latencies)


def _latency(task: Task, variant: str, measured: list[tuple[float, float, float]]) -> VariantLatency:
    table = numpy.percentile(numpy.asarray(measured), [50, 95, 99], axis=0).round(3)
    queue, inference, total = (Percentiles(p50=column[0], p95=column[1], p99=column[2]) for column in table.T.tolist())
    return VariantLatency(
        task=task, variant=variant, count=len(measured), queue_ms=queue, inference_ms=inference, total_ms=total
    )
