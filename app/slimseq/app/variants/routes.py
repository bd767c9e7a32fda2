"""Routes about variants, their measurements, and the operation of the service.

- `router`: `/variants`, and loading and unloading;
- `measurements`: `/latency`, `/quality` and `/memory`;
- `operation`: `/info`, `/metrics`, `/healthz` and `/readyz`.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from slimseq.app.http.dependencies import (
    OneTaskQuery,
    OneVariantQuery,
    RuntimeQuery,
    TaskPath,
    VariantPath,
    audited,
    requires,
    runtime_name,
    service,
)
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import documented
from slimseq.app.observability.service_metrics import LatencyReport, LatencyWindow, ServiceMetrics
from slimseq.app.serving.pool.pool import Pool
from slimseq.app.serving.pool.readiness import Readiness
from slimseq.app.variants.inventory import Inventory
from slimseq.app.variants.schemas import Detail, Health, Info, MemoryReport, QualityReport, VariantDetail, VariantList

router = APIRouter(tags=["variants"])
measurements = APIRouter(tags=["measurements"])
operation = APIRouter(tags=["operation"])

InventoryDep = Annotated[Inventory, service("inventory")]
PoolDep = Annotated[Pool, service("pool")]


@router.get("/variants", summary="List variants")
async def list_variants(inventory: InventoryDep) -> VariantList:
    """List all variants with their status, size and quality."""
    return inventory.variants()


@router.get("/variants/{task}/{variant}", summary="Show a variant", responses=documented(404))
async def get_variant(task: TaskPath, variant: VariantPath, inventory: InventoryDep) -> VariantDetail:
    """Show a variant with its manifest."""
    return inventory.variant(task, variant)


@router.post(
    "/variants/{task}/{variant}/load",
    summary="Load a variant",
    responses=documented(403, 404, 507),
    dependencies=[audited("load variant"), requires(Scope.ADMIN)],
)
async def load_variant(
    task: TaskPath, variant: VariantPath, inventory: InventoryDep, pool: PoolDep, runtime: RuntimeQuery = "auto"
) -> VariantDetail:
    """Load a variant in advance. Other variants may be unloaded to free memory."""
    async with pool.lease(task, variant, runtime_name(runtime)):
        return inventory.variant(task, variant, runtime_name(runtime))


@router.post(
    "/variants/{task}/{variant}/unload",
    summary="Unload a variant",
    responses=documented(403, 404, 409),
    dependencies=[audited("unload variant"), requires(Scope.ADMIN)],
)
async def unload_variant(task: TaskPath, variant: VariantPath, inventory: InventoryDep, pool: PoolDep) -> VariantDetail:
    """Unload a variant that no request uses, and free its memory. The next request loads it again."""
    inventory.variant(task, variant)
    await pool.unload(task, variant)
    return inventory.variant(task, variant)


@measurements.get("/latency", summary="Show latencies")
async def latency(
    window: Annotated[LatencyWindow, service("latency")],
    task: OneTaskQuery = None,
    variant: OneVariantQuery = None,
) -> LatencyReport:
    """Show latency percentiles of successful requests in the sliding window, by task, variant and phase."""
    return window.report(task, variant)


@measurements.get("/quality", summary="Show quality", responses=documented(404))
async def quality(
    inventory: InventoryDep,
    task: OneTaskQuery = None,
    variant: OneVariantQuery = None,
    detail: Annotated[Detail, Query(description="`full` adds all recorded scores.")] = "short",
) -> QualityReport:
    """Show each variant's reference model, its retention with a 95 % interval, and the gate of its manifest."""
    return inventory.quality(task, variant, detail)


@measurements.get("/memory", summary="Show memory use")
async def memory(inventory: InventoryDep) -> MemoryReport:
    """Show the resident memory of the process and the measured memory of each loaded variant."""
    return inventory.memory()


@operation.get("/info", summary="Show versions and digests")
async def info(inventory: InventoryDep) -> Info:
    """Show versions, runtimes, the machine, and the digest of every artifact."""
    return inventory.info()


@operation.get(
    "/metrics",
    dependencies=[requires(Scope.METRICS)],
    summary="Show metrics for Prometheus",
    response_class=PlainTextResponse,
    response_description="All metrics.",
)
async def metrics(metrics: Annotated[ServiceMetrics, service("metrics")]) -> Response:
    """Show all metrics in the Prometheus text format."""
    return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)


@operation.get("/healthz", summary="Liveness probe")
async def health() -> Health:
    """Answer 200 while the process runs."""
    return Health(status="ok")


@operation.get("/readyz", summary="Readiness probe")
async def readiness(readiness: Annotated[Readiness, service("readiness")]) -> Health:
    """Answer 200 once the preloaded variants are loaded and the default variant of a task can serve, else 503."""
    degraded = readiness.check()
    return Health(status="degraded" if degraded else "ready", degraded=degraded)
