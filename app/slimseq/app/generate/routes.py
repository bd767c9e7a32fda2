"""`POST /summarize`, `POST /translate` and `POST /compare`."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse

from slimseq.answers import Comparison
from slimseq.app.generate.comparison import ComparisonService
from slimseq.app.generate.glossaries import GlossaryList
from slimseq.app.generate.parameters import (
    GENERATION_PARAMETERS,
    TERMS_PARAMETERS,
    TRANSLATION_PARAMETERS,
    GenerationDep,
    call_from,
    terms_from,
)
from slimseq.app.generate.schemas import (
    CompareRequest,
    GenerationResponse,
    SummarizeRequest,
    TranslateRequest,
)
from slimseq.app.generate.service import Call, GenerationService
from slimseq.app.http.body import JsonRoute
from slimseq.app.http.dependencies import RuntimeQuery, requires, runtime_name, service
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import documented
from slimseq.models_store.manifest import Task

router = APIRouter(tags=["generation"], route_class=JsonRoute, dependencies=[requires(Scope.GENERATE)])

STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
EVENT = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "event": {"enum": ["token", "done", "error"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "`token`: `index` of the output and `text` to add. `done`: the answer. `error`: a problem. "
            "The pieces of an output add up to its text in reading order: sentence by sentence of a translation, "
            "part by part of a long document. Of an output with `repaired`, they add up to the text before.",
        },
    },
    "required": ["event", "data"],
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The outputs. With `stream`: a `token` event for each piece, then a `done` event with the "
        "outputs.",
        "content": {EventSourceResponse.media_type: {"schema": EVENT}},
    },
    **documented(404, 504, 507),
}
ANSWERED: dict[str, Any] = {"responses": RESPONSES, "response_model": GenerationResponse}


@router.post("/summarize", summary="Summarize texts", openapi_extra=GENERATION_PARAMETERS, **ANSWERED)
async def summarize(body: SummarizeRequest, request: Request, generation: GenerationDep) -> Response:
    """Summarize one or more texts with the selected variant."""
    call = call_from(request, Task.SUMMARIZATION, body.prompt())
    return await _respond(generation, call, body.stream)


@router.post("/translate", summary="Translate texts", openapi_extra=TRANSLATION_PARAMETERS, **ANSWERED)
async def translate(body: TranslateRequest, request: Request, generation: GenerationDep) -> Response:
    """Translate one or more texts with the selected variant, sentence by sentence. Line breaks are kept."""
    call = call_from(request, Task.TRANSLATION, body.prompt())
    if call.choice.target and not call.prompt.target:
        call.prompt = replace(call.prompt, target=call.choice.target)
    return await _respond(generation, call, body.stream)


@router.post(
    "/compare",
    summary="Compare variants",
    openapi_extra=TERMS_PARAMETERS,
    response_model_exclude_none=True,
    responses=documented(404, 507),
)
async def compare(
    body: CompareRequest,
    comparison: Annotated[ComparisonService, service("comparison")],
    request: Request,
    task: Annotated[Task, Query(description="Task of the variants.")],
    variant: Annotated[list[str], Query(min_length=2, max_length=8, description="Name of a variant, 2 to 8 times.")],
    runtime: RuntimeQuery = "auto",
) -> Comparison:
    """Generate from the same texts with 2 to 8 variants, one after the other. A failed variant has an `error`."""
    body.check_fields(task)
    terms, admission = terms_from(request), request.state.admission
    return await comparison.compare(task, variant, body.prompt(), runtime_name(runtime), terms, admission)


@router.get(
    "/glossaries",
    operation_id="list_glossaries",
    summary="List glossaries",
    responses=documented(500),
)
def list_glossaries(generation: GenerationDep) -> GlossaryList:
    """List the glossaries that translations may name: the files of the folder `SLIMSEQ_GLOSSARIES`."""
    return generation.glossaries.listed()


async def _respond(generation: GenerationService, call: Call, is_streamed: bool) -> Response:
    if is_streamed:
        return EventSourceResponse(await generation.stream(call), headers=STREAM_HEADERS)
    answer = await generation.generate(call)
    # FastAPI would validate it again.
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")
