"""`GET /memory`."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import PoolDep
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.memory import MemoryReport
from slimseq.app.observability.memory import memory_report

router = APIRouter(tags=["measurements"])


@router.get("/memory", operation_id="memory", summary="Show memory", responses=documented(500))
async def memory(pool: PoolDep) -> MemoryReport:
    """Show what the process takes now and what opening each variant added to it, measured."""
    return memory_report(pool)
