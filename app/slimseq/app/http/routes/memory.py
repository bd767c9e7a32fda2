"""`GET /memory`."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.memory import MemoryReport

router = APIRouter(tags=["measurements"])


@router.get("/memory", operation_id="memory", summary="Show memory use", responses=documented(500))
async def memory(services: ServicesDep) -> MemoryReport:
    """Show the resident memory of the process and the measured memory of each loaded variant."""
    return services.inventory.memory()
