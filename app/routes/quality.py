"""`GET /quality`."""

from fastapi import APIRouter

from app.dependencies import InventoryDep
from app.problems import documented
from app.schemas.quality import QualityReport

router = APIRouter(tags=["measurements"])


@router.get("/quality", operation_id="quality", summary="Show quality", responses=documented(500))
async def quality(inventory: InventoryDep) -> QualityReport:
    """Show every variant's recorded scores with their intervals, its retention, and its gate's verdict."""
    return inventory.quality()
