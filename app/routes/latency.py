"""`GET /latency`."""

from fastapi import APIRouter

from app.dependencies import LatencyDep, VariantQuery
from app.problems import documented
from app.schemas.latency import LatencyReport
from models_store.manifest import Task

router = APIRouter(tags=["measurements"])


@router.get("/latency", operation_id="latency", summary="Show latencies", responses=documented(422, 500))
async def latency(window: LatencyDep, task: Task | None = None, variant: VariantQuery = None) -> LatencyReport:
    """Show percentiles of what served requests took over the sliding window, by task, variant and phase."""
    return window.report(task, variant)
