"""`GET /healthz` and `GET /readyz`, for probes."""

from fastapi import APIRouter

from slimseq.app.http.dependencies import ReadinessDep
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.info import Health

router = APIRouter(tags=["operation"])


@router.get("/healthz", operation_id="health", summary="Alive?")
async def health() -> Health:
    """Answer as long as the process lives."""
    return Health(status="ok")


@router.get("/readyz", operation_id="readiness", summary="Able to serve?", responses=documented(503))
async def readiness(ready: ReadinessDep) -> Health:
    """Answer once the chosen variants are open and a task's default can serve, `degraded` where a run just broke."""
    degraded = ready.check()
    return Health(status="degraded" if degraded else "ready", degraded=degraded)
