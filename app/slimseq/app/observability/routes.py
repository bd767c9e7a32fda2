"""`GET /latency`, `GET /metrics` for Prometheus, and the probes `GET /healthz` and `GET /readyz`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from slimseq.app.http.dependencies import OneTaskQuery, OneVariantQuery, requires, service
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import documented
from slimseq.app.observability.latency import LatencyReport, LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.pool.readiness import Readiness

measurements = APIRouter(tags=["measurements"])
operation = APIRouter(tags=["operation"])


class Health(BaseModel):
    """The response of a probe."""

    status: Literal["ok", "ready", "degraded"]
    degraded: list[str] = Field(default=[], description="Loaded variants whose last generation failed.")


@measurements.get("/latency", operation_id="latency", summary="Show latencies", responses=documented(422, 500))
async def latency(
    window: Annotated[LatencyWindow, service("latency")],
    task: OneTaskQuery = None,
    variant: OneVariantQuery = None,
) -> LatencyReport:
    """Show latency percentiles of successful requests in the sliding window, by task, variant and phase."""
    return window.report(task, variant)


@operation.get(
    "/metrics",
    dependencies=[requires(Scope.METRICS)],
    operation_id="metrics",
    summary="Show metrics for Prometheus",
    response_class=PlainTextResponse,
    response_description="All metrics.",
)
async def metrics(metrics: Annotated[ServiceMetrics, service("metrics")]) -> Response:
    """Show all metrics in the Prometheus text format."""
    return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)


@operation.get("/healthz", operation_id="health", summary="Liveness probe")
async def health() -> Health:
    """Answer 200 while the process runs."""
    return Health(status="ok")


@operation.get("/readyz", operation_id="readiness", summary="Readiness probe", responses=documented(503))
async def readiness(readiness: Annotated[Readiness, service("readiness")]) -> Health:
    """Answer 200 once the preloaded variants are loaded and the default variant of a task can serve, else 503."""
    degraded = readiness.check()
    return Health(status="degraded" if degraded else "ready", degraded=degraded)
