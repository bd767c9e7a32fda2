"""`GET /variants` and `GET /variants/{task}/{variant}`."""

from fastapi import APIRouter

from app.dependencies import InventoryDep
from app.problems import documented
from app.schemas.variants import VariantDetail, VariantList
from models_store.manifest import Task

router = APIRouter(tags=["variants"])


@router.get("/variants", operation_id="list_variants", summary="List the variants", responses=documented(500))
async def list_variants(inventory: InventoryDep) -> VariantList:
    """List every variant: what it is, whether it serves, what it weighs and what it keeps."""
    return inventory.variants()


@router.get(
    "/variants/{task}/{variant}",
    operation_id="get_variant",
    summary="Show one variant",
    responses=documented(404, 422, 500),
)
async def get_variant(task: Task, variant: str, inventory: InventoryDep) -> VariantDetail:
    """Show one variant with its manifest."""
    return inventory.variant(task, variant)
