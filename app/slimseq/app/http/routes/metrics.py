"""`GET /metrics`, for Prometheus."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from slimseq.app.http.dependencies import MetricsDep

router = APIRouter(tags=["operation"])


@router.get("/metrics", operation_id="metrics", summary="Show metrics for Prometheus", response_class=PlainTextResponse)
async def metrics(kept: MetricsDep) -> Response:
    """Show every series in the Prometheus text format."""
    return Response(kept.render(), media_type=CONTENT_TYPE_LATEST)
