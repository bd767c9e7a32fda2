"""`GET /info`."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import InventoryDep
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.info import Info

router = APIRouter(tags=["operation"])


@router.get("/info", operation_id="info", summary="Show versions and digests", responses=documented(500))
async def info(inventory: InventoryDep) -> Info:
    """Show what runs here: versions, runtimes, the machine, and the digest of every artifact."""
    return inventory.info()
