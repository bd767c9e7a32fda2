"""`GET /quality`."""

from typing import Annotated

from fastapi import APIRouter, Query

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.quality import Detail, QualityReport
from slimseq.models_store.manifest import Task

router = APIRouter(tags=["measurements"])


@router.get("/quality", operation_id="quality", summary="Show quality", responses=documented(404, 422, 500, 503))
async def quality(
    services: ServicesDep,
    task: Annotated[Task | None, Query(description="Only this task.")] = None,
    variant: Annotated[str | None, Query(max_length=64, description="Only the variant of this name.")] = None,
    detail: Annotated[Detail, Query(description="`full` adds all recorded scores.")] = "short",
) -> QualityReport:
    """Show each variant's reference model, its retention with a 95 % interval, and the gate of its manifest."""
    return services.inventory.quality(task, variant, detail)
