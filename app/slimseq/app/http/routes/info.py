"""`GET /info`."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.info import Info

router = APIRouter(tags=["operation"])


@router.get("/info", operation_id="info", summary="Show versions and digests", responses=documented(500))
async def info(services: ServicesDep) -> Info:
    """Show versions, runtimes, the machine, and the digest of every artifact."""
    return services.inventory.info()
