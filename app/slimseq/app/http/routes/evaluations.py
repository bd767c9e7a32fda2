"""`POST` and `GET /evaluations`, `GET` and `DELETE /evaluations/{id}`."""

from fastapi import APIRouter, Response, status

from slimseq.app.http.dependencies import EvaluationsDep
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
async def post_evaluation(body: EvaluationRequest, service: EvaluationsDep, response: Response) -> EvaluationJob:
    """Queue an evaluation of variants on a named data set or on posted pairs; `Location` says where to ask for it."""
    job = service.post(body)
    response.headers["Location"] = f"/evaluations/{job.id}"
    return job


@router.get(
    "/evaluations",
    operation_id="list_evaluations",
    summary="List the evaluations",
    responses=documented(500),
)
async def list_evaluations(service: EvaluationsDep) -> EvaluationList:
    """List the evaluations that are remembered, the newest first; each one's own address has its results."""
    return service.list()


@router.get(
    "/evaluations/{identifier}",
    operation_id="get_evaluation",
    summary="Show an evaluation",
    responses=documented(404, 500),
)
async def get_evaluation(identifier: str, service: EvaluationsDep) -> EvaluationJob:
    """Show where an evaluation stands, and what it found once it succeeded."""
    return service.get(identifier)


@router.delete(
    "/evaluations/{identifier}",
    operation_id="cancel_evaluation",
    summary="Cancel an evaluation",
    responses=documented(404, 500),
)
async def cancel_evaluation(identifier: str, service: EvaluationsDep) -> EvaluationJob:
    """End an evaluation that has not ended, and show where it stands; one that has ended stays as it is."""
    return service.cancel(identifier)
