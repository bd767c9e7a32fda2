"""`POST /summarize` and `POST /translate`."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from slimseq.app.http.dependencies import ChoiceDep, GenerationDep
from slimseq.app.http.direct_route import DirectRoute
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.generation import GenerationResponse, SummarizeRequest, TranslateRequest
from slimseq.app.serving.events import MEDIA_TYPE
from slimseq.models_store.manifest import Task

router = APIRouter(tags=["generation"], route_class=DirectRoute)

STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The outputs; with `stream`, `token` events and a last `done` event with them.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    **documented(404, 413, 415, 422, 429, 500, 503, 504),
}


@router.post(
    "/summarize",
    operation_id="summarize",
    summary="Summarize texts",
    responses=RESPONSES,
    response_model=GenerationResponse,
)
async def summarize(
    body: SummarizeRequest, service: GenerationDep, choice: ChoiceDep
) -> GenerationResponse | StreamingResponse:
    """Summarize one text or several with the chosen variant."""
    if body.stream:
        events = await service.stream(Task.SUMMARIZATION, body.prompt(), choice)
        return StreamingResponse(events, headers=STREAM_HEADERS, media_type=MEDIA_TYPE)
    return await service.generate(Task.SUMMARIZATION, body.prompt(), choice)


@router.post(
    "/translate",
    operation_id="translate",
    summary="Translate texts",
    responses=RESPONSES,
    response_model=GenerationResponse,
)
async def translate(
    body: TranslateRequest, service: GenerationDep, choice: ChoiceDep
) -> GenerationResponse | StreamingResponse:
    """Translate one text or several with the chosen variant, sentence by sentence, with their paragraphs kept."""
    if body.stream:
        events = await service.stream(Task.TRANSLATION, body.prompt(), choice)
        return StreamingResponse(events, headers=STREAM_HEADERS, media_type=MEDIA_TYPE)
    return await service.generate(Task.TRANSLATION, body.prompt(), choice)
