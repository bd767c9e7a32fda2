"""The endpoints, one file for each group. `ROUTERS` lists them in the order of `/docs`."""

from fastapi import APIRouter

from slimseq.app.evaluations import routes as evaluations
from slimseq.app.experiments import routes as experiments
from slimseq.app.http.routes import (
    generate,
    health,
    info,
    latency,
    memory,
    metrics,
    problems,
    quality,
    variants,
)

ROUTERS: tuple[APIRouter, ...] = (
    generate.router,
    variants.router,
    latency.router,
    memory.router,
    quality.router,
    evaluations.router,
    experiments.router,
    metrics.router,
    health.router,
    info.router,
    problems.router,
)
