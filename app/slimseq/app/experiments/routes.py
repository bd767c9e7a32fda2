"""`/experiments`, `/experiments/{id}` with its `stop` and `promote`, and `POST /feedback`."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status

from slimseq.answers import Experiment, Feedback
from slimseq.app.experiments.schemas import ExperimentList, ExperimentRequest, FeedbackRequest
from slimseq.app.experiments.service import ExperimentService, FeedbackService
from slimseq.app.http.body import JsonRoute
from slimseq.app.http.dependencies import BeforeQuery, UnitHeader, audited, requires, service
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import LOCATED, documented

# Everybody may, while the service has neither keys nor an operators' token.
OPERATORS = requires(Scope.ADMIN, is_open_without_operators=True)

router = APIRouter(tags=["experiments"], route_class=JsonRoute)

ExperimentsDep = Annotated[ExperimentService, service("experiments")]
FeedbackDep = Annotated[FeedbackService, service("feedback")]
ExperimentPath = Annotated[str, Path(description="`id` of the experiment.")]


@router.post(
    "/experiments",
    summary="Start an experiment",
    status_code=status.HTTP_201_CREATED,
    responses={201: LOCATED, **documented(403, 404, 409)},
    dependencies=[audited("start experiment"), OPERATORS],
)
async def start_experiment(body: ExperimentRequest, experiments: ExperimentsDep, response: Response) -> Experiment:
    """Split the requests of a language pair that name no variant between variants.

    A unit, such as a user, keeps its arm. The header `X-Slimseq-Unit` names the unit. All arms must serve the pair.
    Requests of other pairs are not touched. One experiment runs for each pair of a task. If operators have a token,
    only they may start, stop and delete experiments. At most 1000 are kept.
    """
    experiment = await experiments.start(body)
    response.headers["Location"] = f"/experiments/{experiment.id}"
    return experiment


@router.get("/experiments", summary="List experiments")
async def list_experiments(
    experiments: ExperimentsDep,
    limit: Annotated[int, Query(ge=1, le=200, description="Maximum number of experiments.")] = 50,
    before: BeforeQuery = None,
) -> ExperimentList:
    """List experiments, the newest first."""
    return await experiments.list_page(limit, before)


@router.get("/experiments/{identifier}", summary="Show an experiment", responses=documented(404))
async def get_experiment(identifier: ExperimentPath, experiments: ExperimentsDep) -> Experiment:
    """Show what an experiment has shown so far. Its intervals and verdicts are valid at any time at which one looks."""
    return await experiments.get(identifier)


@router.post(
    "/experiments/{identifier}/stop",
    summary="Stop an experiment",
    responses=documented(403, 404),
    dependencies=[audited("stop experiment"), OPERATORS],
)
async def stop_experiment(identifier: ExperimentPath, experiments: ExperimentsDep) -> Experiment:
    """Stop an experiment. Requests that name no variant get the default variant again."""
    return await experiments.stop(identifier)


@router.post(
    "/experiments/{identifier}/promote",
    summary="Promote an arm",
    responses=documented(403, 404, 409, 422, 500, 503),
    dependencies=[audited("promote arm"), OPERATORS],
)
async def promote_arm(
    identifier: ExperimentPath,
    experiments: ExperimentsDep,
    arm: Annotated[str | None, Query(max_length=64, description="The arm. Default: the one that is ahead.")] = None,
) -> Experiment:
    """Make an arm the default of its pair, on all services that share the database, and stop the experiment."""
    return await experiments.promote(identifier, arm)


@router.delete(
    "/experiments/{identifier}",
    summary="Delete an experiment",
    status_code=status.HTTP_204_NO_CONTENT,
    response_description="The experiment is deleted.",
    responses=documented(403, 404, 409),
    dependencies=[audited("delete experiment"), OPERATORS],
)
async def delete_experiment(identifier: ExperimentPath, experiments: ExperimentsDep) -> None:
    """Delete an experiment that has stopped, with its responses, ratings and votes, and withdraw its promotion."""
    await experiments.delete(identifier)


@router.post(
    "/feedback",
    summary="Rate a response or vote in a comparison",
    status_code=status.HTTP_201_CREATED,
    responses=documented(404, 409),
    dependencies=[requires(Scope.GENERATE)],
)
async def post_feedback(body: FeedbackRequest, feedback: FeedbackDep, unit: UnitHeader = None) -> Feedback:
    """Rate a response, or say which variant of a comparison was better. Each is judged once.

    For an experiment, the first rating of a unit, such as a user, counts, and its first vote on two arms. The header
    `X-Slimseq-Unit` of this request names the unit. Without the header, the unit of the response or of the comparison
    counts.
    """
    return await feedback.post(body, unit)
