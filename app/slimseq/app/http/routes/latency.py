"""`GET /latency`."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import LatencyDep, VariantQuery
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.latency import LatencyReport
from slimseq.models_store.manifest import Task

router = APIRouter(tags=["measurements"])


@router.get("/latency", operation_id="latency", summary="Show latencies", responses=documented(422, 500))
async def latency(window: LatencyDep, task: Task | None = None, variant: VariantQuery = None) -> LatencyReport:
    """Show percentiles of what served requests took over the sliding window, by task, variant and phase."""
    return window.report(task, variant)
