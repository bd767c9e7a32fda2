"""The answer of `GET /latency`."""

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Task


class Percentiles(BaseModel):
    """Percentiles of one phase, in milliseconds."""

    p50: float
    p95: float
    p99: float


class VariantLatency(BaseModel):
    """What one variant's requests took."""

    task: Task
    variant: str
    count: int = Field(description="Requests in the window.")
    queue_ms: Percentiles = Field(description="Waiting for batches of others.")
    inference_ms: Percentiles = Field(description="The batches that the request was in.")
    total_ms: Percentiles = Field(description="All of it, with choosing, loading and tokenizing.")


class LatencyReport(BaseModel):
    """What requests took over the sliding window."""

    window_seconds: float
    latencies: list[VariantLatency] = Field(description="Of every variant that was served in the window.")
