"""`GET /latency`."""

from typing import Annotated

from fastapi import APIRouter, Query

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.latency import LatencyReport
from slimseq.models_store.manifest import Task

router = APIRouter(tags=["measurements"])


@router.get("/latency", operation_id="latency", summary="Show latencies", responses=documented(422, 500))
async def latency(
    services: ServicesDep,
    task: Annotated[Task | None, Query(description="Only this task.")] = None,
    variant: Annotated[str | None, Query(max_length=64, description="Only the variant of this name.")] = None,
) -> LatencyReport:
    """Show latency percentiles of successful requests in the sliding window, by task, variant and phase."""
    return services.latency.report(task, variant)
