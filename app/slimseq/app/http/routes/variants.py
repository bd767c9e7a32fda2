"""`GET /variants`, `GET /variants/{task}/{variant}`, and what an operator does with one: load and unload it."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import InventoryDep, OperatorOnly, PoolDep, RuntimeQuery, named
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.variants import VariantDetail, VariantList
from slimseq.models_store.manifest import Task

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


@router.post(
    "/variants/{task}/{variant}/load",
    operation_id="load_variant",
    summary="Open a variant",
    responses=documented(403, 404, 422, 500, 503),
    dependencies=[OperatorOnly],
)
async def load_variant(
    task: Task, variant: str, pool: PoolDep, inventory: InventoryDep, runtime: RuntimeQuery = "auto"
) -> VariantDetail:
    """Open a variant, so that no request waits for it; others may be closed to make room."""
    async with pool.lease(task, variant, named(runtime)):
        return inventory.variant(task, variant, named(runtime))


@router.post(
    "/variants/{task}/{variant}/unload",
    operation_id="unload_variant",
    summary="Close a variant",
    responses=documented(403, 404, 409, 422, 500),
    dependencies=[OperatorOnly],
)
async def unload_variant(task: Task, variant: str, pool: PoolDep, inventory: InventoryDep) -> VariantDetail:
    """Close a variant that no request uses, and give its memory back; the next request opens it again."""
    inventory.variant(task, variant)
    await pool.unload(task, variant)
    return inventory.variant(task, variant)
