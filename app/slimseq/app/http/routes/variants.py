"""`GET /variants`, `GET /variants/{task}/{variant}`, and for operators: load and unload a variant."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import RuntimeQuery, ServicesDep, TaskPath, VariantPath, runtime_name
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.variants import VariantDetail, VariantList
from slimseq.app.http.security import audited, requires
from slimseq.app.identity.keys import Scope

router = APIRouter(tags=["variants"])


@router.get("/variants", operation_id="list_variants", summary="List variants", responses=documented(500))
async def list_variants(services: ServicesDep) -> VariantList:
    """List all variants with their status, size and quality."""
    return services.inventory.variants()


@router.get(
    "/variants/{task}/{variant}",
    operation_id="get_variant",
    summary="Show a variant",
    responses=documented(404, 422, 500),
)
async def get_variant(task: TaskPath, variant: VariantPath, services: ServicesDep) -> VariantDetail:
    """Show a variant with its manifest."""
    return services.inventory.variant(task, variant)


@router.post(
    "/variants/{task}/{variant}/load",
    operation_id="load_variant",
    summary="Load a variant",
    responses=documented(403, 404, 422, 500, 503, 507),
    dependencies=[audited("load variant"), requires(Scope.ADMIN)],
)
async def load_variant(
    task: TaskPath, variant: VariantPath, services: ServicesDep, runtime: RuntimeQuery = "auto"
) -> VariantDetail:
    """Load a variant in advance. Other variants may be unloaded to free memory."""
    async with services.pool.lease(task, variant, runtime_name(runtime)):
        return services.inventory.variant(task, variant, runtime_name(runtime))


@router.post(
    "/variants/{task}/{variant}/unload",
    operation_id="unload_variant",
    summary="Unload a variant",
    responses=documented(403, 404, 409, 422, 500),
    dependencies=[audited("unload variant"), requires(Scope.ADMIN)],
)
async def unload_variant(task: TaskPath, variant: VariantPath, services: ServicesDep) -> VariantDetail:
    """Unload a variant that no request uses, and free its memory. The next request loads it again."""
    services.inventory.variant(task, variant)
    await services.pool.unload(task, variant)
    return services.inventory.variant(task, variant)
