"""`POST` and `GET /evaluations`, `GET` and `DELETE /evaluations/{id}`."""

from fastapi import APIRouter, Response, status

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.json_route import JsonRoute
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.evaluation import EvaluationJob, EvaluationList, EvaluationRequest

router = APIRouter(tags=["measurements"], route_class=JsonRoute)


@router.post(
    "/evaluations",
    operation_id="post_evaluation",
    summary="Evaluate variants",
    status_code=status.HTTP_202_ACCEPTED,
    responses=documented(404, 413, 415, 422, 429, 500, 503),
)
async def post_evaluation(body: EvaluationRequest, services: ServicesDep, response: Response) -> EvaluationJob:
    """Queue an evaluation of variants on a named data set or on posted pairs. `Location` has the evaluation's path."""
    job = services.evaluations.post(body)
    response.headers["Location"] = f"/evaluations/{job.id}"
    return job


@router.get(
    "/evaluations",
    operation_id="list_evaluations",
    summary="List evaluations",
    responses=documented(500),
)
async def list_evaluations(services: ServicesDep) -> EvaluationList:
    """List the evaluations, the newest first. The path of each evaluation has its results."""
    return services.evaluations.list()


@router.get(
    "/evaluations/{identifier}",
    operation_id="get_evaluation",
    summary="Show an evaluation",
    responses=documented(404, 500),
)
async def get_evaluation(identifier: str, services: ServicesDep) -> EvaluationJob:
    """Show the status of an evaluation, and its results once it succeeded."""
    return services.evaluations.get(identifier)


@router.delete(
    "/evaluations/{identifier}",
    operation_id="cancel_evaluation",
    summary="Cancel an evaluation",
    responses=documented(404, 500),
)
async def cancel_evaluation(identifier: str, services: ServicesDep) -> EvaluationJob:
    """Cancel an evaluation that is queued or running, and show its status. A finished evaluation does not change."""
    return services.evaluations.cancel(identifier)
