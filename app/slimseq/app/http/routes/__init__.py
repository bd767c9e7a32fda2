"""One file a family of endpoints; `ROUTERS` lists them in the order of the documentation page."""

from fastapi import APIRouter

from slimseq.app.http.routes import (
    compare,
    evaluations,
    generate,
    health,
    info,
    latency,
    memory,
    metrics,
    quality,
    variants,
)

ROUTERS: tuple[APIRouter, ...] = (
    generate.router,
    compare.router,
    variants.router,
    latency.router,
    memory.router,
    quality.router,
    evaluations.router,
    metrics.router,
    health.router,
    info.router,
)
