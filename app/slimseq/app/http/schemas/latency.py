"""The response of `GET /latency`."""

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Task


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
