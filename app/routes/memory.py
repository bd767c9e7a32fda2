"""`GET /memory`."""

from fastapi import APIRouter

from app.dependencies import PoolDep
from app.problems import documented
from app.schemas.memory import MemoryReport
from app.serving.memory import memory_report

router = APIRouter(tags=["measurements"])


@router.get("/memory", operation_id="memory", summary="Show memory", responses=documented(500))
async def memory(pool: PoolDep) -> MemoryReport:
    """Show what the process takes now and what opening each variant added to it, measured."""
    return memory_report(pool)
