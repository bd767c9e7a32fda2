"""`GET /metrics`, for Prometheus."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.security import requires
from slimseq.app.identity.keys import Scope

router = APIRouter(tags=["operation"], dependencies=[requires(Scope.METRICS)])


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Show metrics for Prometheus",
    response_class=PlainTextResponse,
    response_description="All metrics.",
)
async def metrics(services: ServicesDep) -> Response:
    """Show all metrics in the Prometheus text format."""
    return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)
