"""`GET /healthz` and `GET /readyz`, for probes."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.info import Health

router = APIRouter(tags=["operation"])


@router.get("/healthz", operation_id="health", summary="Liveness probe")
async def health() -> Health:
    """Answer 200 while the process runs."""
    return Health(status="ok")


@router.get("/readyz", operation_id="readiness", summary="Readiness probe", responses=documented(503))
async def readiness(services: ServicesDep) -> Health:
    """Answer 200 once the preloaded variants are loaded and the default variant of a task can serve, else 503."""
    degraded = services.readiness.check()
    return Health(status="degraded" if degraded else "ready", degraded=degraded)
