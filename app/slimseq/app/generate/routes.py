"""The routes `POST /summarize`, `POST /translate`, `POST /compare` and `GET /glossaries`.

A route makes a `Call` of the body, the query (which variant) and the headers (deadline, priority, unit), and hands it
to the service of generation or comparison. Errors become problems in `slimseq.app.http.middleware`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimseq.answers import Comparison
from slimseq.app.errors import InvalidRequest
from slimseq.app.generate.call import Call, CallTerms
from slimseq.app.generate.comparison import ComparisonService
from slimseq.app.generate.glossaries import GlossaryList
from slimseq.app.generate.schemas import (
    CompareRequest,
    GenerationResponse,
    Language,
    SummarizeRequest,
    TranslateRequest,
)
from slimseq.app.generate.service import GenerationService
from slimseq.app.http.body import JsonRoute
from slimseq.app.http.dependencies import (
    UNIT_DESCRIPTION,
    UNIT_HEADER,
    RuntimeQuery,
    check_query,
    check_scope,
    runtime_name,
    service,
)
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import describe, documented
from slimseq.app.serving.batching.request import Due, Priority
from slimseq.app.serving.selection.chooser import RequestedVariant
from slimseq.app.setting_types import RuntimeChoice
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.manifest import Task

Model = TypeVar("Model", bound=BaseModel)


class ChoiceQuery(BaseModel):
    """The query parameters that select a variant and its runtime."""

    model_config = ConfigDict(extra="forbid")

    variant: str | None = Field(
        default=None, max_length=64, description="Name of the variant. Default: the default variant of the task."
    )
    min_retention: float | None = Field(
        default=None,
        gt=0,
        le=2,
        allow_inf_nan=False,
        description="Minimum retention, instead of a variant's name. Selects the fastest variant that keeps at least "
        "this share of the quality of the base model. The base model is that of the variant that answers by default.",
    )
    max_latency_ms: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Maximum median latency of one text in milliseconds, as measured, instead of a variant's "
        "name. Selects the variant with the best retention; with `min_retention` the fastest one.",
    )
    max_bytes: int | None = Field(
        default=None, gt=0, le=2**53, description="Maximum size of the model's files, likewise."
    )
    runtime: RuntimeChoice = Field(
        default="auto",
        description="Runtime that generates. `auto` selects the fastest one measured on this type of CPU.",
    )
    speculate: bool = Field(
        default=True,
        description="Whether greedy search of a summary may verify several tokens copied from the text in one step. It "
        "changes no output.",
    )


class TranslationQuery(ChoiceQuery):
    target: Language | None = Field(
        default=None, description="Language of the outputs, if the body names none. It selects a variant likewise."
    )


class TermsHeaders(BaseModel):
    """The headers that state the terms of a request."""

    unit: Annotated[str | None, Field(alias=UNIT_HEADER, max_length=256, description=UNIT_DESCRIPTION)] = None
    deadline_ms: Annotated[
        int | None,
        Field(
            alias="X-Request-Deadline-Ms",
            ge=1,
            le=3_600_000,
            description="Deadline in milliseconds, from the end of the request on, if it is shorter than that of the "
            "service. After it the answer is 504.",
        ),
    ] = None
    priority: Annotated[
        Priority,
        Field(
            alias="X-Request-Priority",
            description="`low` waits behind requests of `normal` priority, and has a smaller share of the service.",
        ),
    ] = "normal"


# Names of the headers as ASGI has them, to names as `TermsHeaders` has them.
TERMS_HEADERS = {each.alias.lower().encode(): each.alias for each in TermsHeaders.model_fields.values() if each.alias}


def generation_service(request: Request) -> GenerationService:
    return cast(GenerationService, request.app.state.services.generation)


def call_from(request: Request, task: Task, prompt: Prompt) -> Call:
    """Returns the call that a request makes, by its query and its headers, for the prompt of its body.

    FastAPI's query and header models would take a third of a millisecond, most of it for absent parameters.
    """
    return Call(task, prompt, choice_from(request.query_params), terms_from(request), request.state.admission)


def choice_from(query: Mapping[str, str]) -> RequestedVariant:
    """Returns the variant and runtime that a query selects."""
    # A summary has no `target`, which `check_query` has rejected by now.
    parameters = _validated(TranslationQuery, dict(query), "query")
    return RequestedVariant(**parameters.model_dump() | {"runtime": runtime_name(parameters.runtime)})


def terms_from(request: Request) -> CallTerms:
    """Returns deadline, priority and unit of a request. The deadline begins now."""
    max_seconds = generation_service(request).max_seconds
    # Of a repeated header the first counts. A dict keeps the last one, hence `reversed`.
    headers = reversed(request.scope["headers"])
    values = {TERMS_HEADERS[name]: value.decode("latin-1") for name, value in headers if name in TERMS_HEADERS}
    if not values:
        return CallTerms(Due.within(max_seconds))
    terms = _validated(TermsHeaders, values, "header")
    seconds = max_seconds if terms.deadline_ms is None else min(terms.deadline_ms / 1000, max_seconds)
    return CallTerms(Due.within(seconds, terms.priority), terms.unit)


def _validated(model: type[Model], values: dict[str, str], place: str) -> Model:
    """Returns the parameters of a `place` (query or header) as a model. Errors name them with the place."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(describe([{**each, "loc": (place, *each["loc"])} for each in error.errors()])) from error


def _parameters(model: type[BaseModel], place: str) -> list[dict[str, Any]]:
    """Returns the fields of a model as OpenAPI describes parameters, none of them required."""
    return [
        {"name": name, "in": place, "required": False, "schema": schema, "description": schema["description"]}
        for name, schema in model.model_json_schema()["properties"].items()
    ]


# The `openapi_extra` of routes, since FastAPI does not see parameters that `call_from` reads: the headers with the
# terms; with them the query that selects a variant; the same for translations.
TERMS_PARAMETERS = {"parameters": _parameters(TermsHeaders, "header")}
GENERATION_PARAMETERS = {"parameters": _parameters(ChoiceQuery, "query") + TERMS_PARAMETERS["parameters"]}
TRANSLATION_PARAMETERS = {"parameters": _parameters(TranslationQuery, "query") + TERMS_PARAMETERS["parameters"]}


async def check_request(request: Request) -> None:
    """Checks a request's query and the scope of its caller.

    This is one dependency and not two, since each dependency takes time (docs/decisions/011).
    """
    await check_query(request)
    check_scope(request, Scope.GENERATE)


router = APIRouter(
    tags=["generation"],
    route_class=JsonRoute,
    dependencies=[Depends(check_request)],
    generate_unique_id_function=lambda route: route.name,
)

# No proxy should cache the events, nor buffer them (`X-Accel-Buffering` is nginx's).
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
# What the routes that generate have in common.
ANSWERED: dict[str, Any] = {"responses": RESPONSES, "response_model": GenerationResponse}


@router.post("/summarize", summary="Summarize texts", openapi_extra=GENERATION_PARAMETERS, **ANSWERED)
async def summarize(body: SummarizeRequest, request: Request) -> Response:
    """Summarize one or more texts with the selected variant."""
    call = call_from(request, Task.SUMMARIZATION, body.prompt())
    return await _respond(request, call, body.stream)


@router.post("/translate", summary="Translate texts", openapi_extra=TRANSLATION_PARAMETERS, **ANSWERED)
async def translate(body: TranslateRequest, request: Request) -> Response:
    """Translate one or more texts with the selected variant, sentence by sentence. Line breaks are kept."""
    call = call_from(request, Task.TRANSLATION, body.prompt())
    if call.choice.target and not call.prompt.target:
        call.prompt = replace(call.prompt, target=call.choice.target)
    return await _respond(request, call, body.stream)


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
def list_glossaries(request: Request) -> GlossaryList:
    """List the glossaries that translations may name: the files of the folder `SLIMSEQ_GLOSSARIES`."""
    return generation_service(request).glossaries.listed()


async def _respond(request: Request, call: Call, is_streamed: bool) -> Response:
    generation = generation_service(request)
    if is_streamed:
        return EventSourceResponse(await generation.stream(call), headers=STREAM_HEADERS)
    answer = await generation.generate(call)
    # A model that a route returns would be validated again by FastAPI.
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")
