"""`POST /compare`."""

from typing import Annotated

from fastapi import APIRouter, Query

from slimseq.app.http.dependencies import GenerationDep, RuntimeQuery, named
from slimseq.app.http.json_route import JsonRoute
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.generation import CompareRequest, CompareResponse
from slimseq.models_store.manifest import Task

router = APIRouter(tags=["generation"], route_class=JsonRoute)


@router.post(
    "/compare",
    operation_id="compare",
    summary="Compare variants",
    responses=documented(404, 413, 415, 422, 500, 503),
)
async def compare(
    body: CompareRequest,
    service: GenerationDep,
    task: Annotated[Task, Query(description="What the variants are for.")],
    variant: Annotated[list[str], Query(min_length=2, max_length=8, description="Named twice or more.")],
    runtime: RuntimeQuery = "auto",
) -> CompareResponse:
    """Give the same texts to 2 to 8 variants, one after the other; a variant that fails says why in its place."""
    return await service.compare(task, variant, body.prompt(task), named(runtime))
