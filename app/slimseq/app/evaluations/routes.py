"""`POST` and `GET /evaluations`, and what is below them: uploads, one evaluation, its samples."""

from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Path, Query, Request, Response, UploadFile, status

from slimseq.app.evaluations.schemas import EvaluatedSamples, EvaluationJob, EvaluationList, EvaluationRequest
from slimseq.app.evaluations.service import EvaluationService, Sender
from slimseq.app.http.body import JsonRoute
from slimseq.app.http.connections import network_of
from slimseq.app.http.dependencies import AdmissionDep, BeforeQuery, audited, requires, service
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import LOCATED, documented
from slimseq.models_store.manifest import Task

router = APIRouter(tags=["measurements"], route_class=JsonRoute, dependencies=[requires(Scope.EVALUATE)])

ACCEPTED = {202: LOCATED, **documented(404)}

EvaluationsDep = Annotated[EvaluationService, service("evaluations")]
EvaluationPath = Annotated[str, Path(description="`id` of the evaluation.")]


async def _sender(request: Request, admission: AdmissionDep) -> Sender:
    caller = admission.caller
    if caller.is_anonymous:
        return Sender(network=network_of(request.state.address))
    return Sender(key_id=caller.identifier, manages_all=caller.may(Scope.ADMIN))


SenderDep = Annotated[Sender, Depends(_sender)]


@router.post(
    "/evaluations",
    summary="Evaluate variants",
    status_code=status.HTTP_202_ACCEPTED,
    responses=ACCEPTED,
    dependencies=[audited("post evaluation")],
)
async def post_evaluation(
    body: EvaluationRequest,
    evaluations: EvaluationsDep,
    admission: AdmissionDep,
    sender: SenderDep,
    response: Response,
) -> EvaluationJob:
    """Queue an evaluation of variants on a named data set or on posted pairs. `Location` has the evaluation's path.

    It is kept when the service restarts, with its texts. A key, or without keys an address, may have four in the queue.
    """
    await admission.evaluation()
    return _accepted(await evaluations.post(body, sender=sender), response)


@router.post(
    "/evaluations/upload",
    summary="Evaluate variants on a file",
    status_code=status.HTTP_202_ACCEPTED,
    responses=ACCEPTED,
    dependencies=[audited("post evaluation")],
)
async def upload_evaluation(
    task: Annotated[Task, Form(description="Task of the variants.")],
    variants: Annotated[list[str], Form(min_length=1, description="Names of the variants, a field each.")],
    file: Annotated[
        UploadFile,
        File(
            description="Pairs in UTF-8, by the ending of the file's name. `.jsonl`: an object a line. `.csv`: the "
            "first line names the columns. Both name `source` and `target`, or `document` and `summary`. `.tsv`: the "
            "source and the target, without names."
        ),
    ],
    evaluations: EvaluationsDep,
    admission: AdmissionDep,
    sender: SenderDep,
    response: Response,
    languages: Annotated[
        list[str] | None,
        Form(
            max_length=2,
            description="Languages of the pairs, a field each: source and target, or that of summaries. Default: those "
            "that the variants have in common.",
        ),
    ] = None,
) -> EvaluationJob:
    """Queue an evaluation of variants on the pairs of an uploaded file. `Location` has the evaluation's path."""
    await admission.evaluation()
    job = await evaluations.post_file(task, variants, file.filename or "", file.file, languages, sender)
    return _accepted(job, response)


@router.get("/evaluations", summary="List evaluations")
async def list_evaluations(
    evaluations: EvaluationsDep,
    before: BeforeQuery = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of evaluations.")] = 50,
) -> EvaluationList:
    """List the evaluations, the newest first. The path of each evaluation has its results."""
    return await evaluations.list_page(before, limit)


@router.get("/evaluations/{identifier}", summary="Show an evaluation", responses=documented(404))
async def get_evaluation(identifier: EvaluationPath, evaluations: EvaluationsDep) -> EvaluationJob:
    """Show the status of an evaluation, and its results once it succeeded."""
    return await evaluations.get(identifier)


@router.delete(
    "/evaluations/{identifier}",
    summary="Cancel or delete an evaluation",
    responses=documented(404),
    dependencies=[audited("cancel evaluation")],
)
async def cancel_evaluation(
    identifier: EvaluationPath, evaluations: EvaluationsDep, sender: SenderDep
) -> EvaluationJob:
    """Cancel an evaluation that is queued or running, and delete its texts. It stays in the list as `cancelled`.

    An evaluation that has ended is deleted with its results. The answer is its last state. With keys, the key that
    posted it may do this, and one with the scope `admin`.
    """
    return await evaluations.cancel_or_delete(identifier, sender)


@router.get("/evaluations/{identifier}/samples", summary="Show samples and outputs", responses=documented(404))
async def list_evaluation_samples(
    identifier: EvaluationPath,
    evaluations: EvaluationsDep,
    start: Annotated[int, Query(ge=0, lt=2**31, description="Number of the first sample.")] = 0,
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of samples.")] = 20,
) -> EvaluatedSamples:
    """Show the samples of an evaluation with each variant's output and score, also while it runs."""
    return await evaluations.samples(identifier, start, limit)


def _accepted(job: EvaluationJob, response: Response) -> EvaluationJob:
    response.headers["Location"] = f"/evaluations/{job.id}"
    return job
