"""`GET /latency`, `GET /metrics` for Prometheus, and the probes `GET /healthz` and `GET /readyz`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import documented
from slimseq.app.http.security import requires
from slimseq.app.observability.latency import LatencyReport
from slimseq.models_store.manifest import Task

measurements = APIRouter(tags=["measurements"])
operation = APIRouter(tags=["operation"])


class Health(BaseModel):
    """The response of a probe."""

    status: Literal["ok", "ready", "degraded"]
    degraded: list[str] = Field(default=[], description="Loaded variants whose last generation failed.")


@measurements.get("/latency", operation_id="latency", summary="Show latencies", responses=documented(422, 500))
async def latency(
    services: ServicesDep,
    task: Annotated[Task | None, Query(description="Only this task.")] = None,
    variant: Annotated[str | None, Query(max_length=64, description="Only the variant of this name.")] = None,
) -> LatencyReport:
    """Show latency percentiles of successful requests in the sliding window, by task, variant and phase."""
    return services.latency.report(task, variant)


@operation.get(
    "/metrics",
    dependencies=[requires(Scope.METRICS)],
    operation_id="metrics",
    summary="Show metrics for Prometheus",
    response_class=PlainTextResponse,
    response_description="All metrics.",
)
async def metrics(services: ServicesDep) -> Response:
    """Show all metrics in the Prometheus text format."""
    return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@operation.get("/healthz", operation_id="health", summary="Liveness probe")
async def health() -> Health:
    """Answer 200 while the process runs."""
    return Health(status="ok")


@operation.get("/readyz", operation_id="readiness", summary="Readiness probe", responses=documented(503))
async def readiness(services: ServicesDep) -> Health:
    """Answer 200 once the preloaded variants are loaded and the default variant of a task can serve, else 503."""
    degraded = services.readiness.check()
    return Health(status="degraded" if degraded else "ready", degraded=degraded)
