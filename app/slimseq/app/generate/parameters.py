"""The query and the headers of a generation: which variant answers, and on which terms."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimseq.app.errors import InvalidRequest
from slimseq.app.generate.schemas import Language
from slimseq.app.generate.service import Call, CallTerms, GenerationService
from slimseq.app.http.dependencies import UNIT_DESCRIPTION, UNIT_HEADER, runtime_name, service
from slimseq.app.http.problems import describe
from slimseq.app.serving.batching.request import Due, Priority
from slimseq.app.serving.selection.chooser import RequestedVariant
from slimseq.app.settings import RuntimeChoice
from slimseq.inference.text.plan import Prompt
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


TERMS_HEADERS = {each.alias.lower().encode(): each.alias for each in TermsHeaders.model_fields.values() if each.alias}


# The query and the headers are read here, since FastAPI's query and header models take a third of a millisecond, most
# of it for absent parameters. A dependency would take 16 µs.
def call_from(request: Request, task: Task, prompt: Prompt) -> Call:
    """Returns the call that a request makes, by its query and its headers, for the prompt of its body."""
    return Call(task, prompt, choice_from(request.query_params), terms_from(request), request.state.admission)


def choice_from(query: Mapping[str, str]) -> RequestedVariant:
    given = _validated(TranslationQuery, dict(query), "query")
    return RequestedVariant(**given.model_dump() | {"runtime": runtime_name(given.runtime)})


def terms_from(request: Request) -> CallTerms:
    most_seconds = request.app.state.services.generation.max_seconds
    # The first one of a name counts.
    headers = reversed(request.scope["headers"])
    named = {TERMS_HEADERS[name]: value.decode("latin-1") for name, value in headers if name in TERMS_HEADERS}
    if not named:
        return CallTerms(Due.within(most_seconds))
    given = _validated(TermsHeaders, named, "header")
    seconds = most_seconds if given.deadline_ms is None else min(given.deadline_ms / 1000, most_seconds)
    return CallTerms(Due.within(seconds, given.priority), given.unit)


def _validated(model: type[Model], given: dict[str, str], place: str) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(describe([{**each, "loc": (place, *each["loc"])} for each in error.errors()])) from error


def _parameters(model: type[BaseModel], place: str) -> list[dict[str, Any]]:
    """Returns the fields of a model as OpenAPI describes parameters, none of them required."""
    return [
        {"name": name, "in": place, "required": False, "schema": schema, "description": schema["description"]}
        for name, schema in model.model_json_schema()["properties"].items()
    ]


# The `openapi_extra` of routes that read the terms, of those that read the choice too, and of their translations.
TERMS_PARAMETERS = {"parameters": _parameters(TermsHeaders, "header")}
GENERATION_PARAMETERS = {"parameters": _parameters(ChoiceQuery, "query") + TERMS_PARAMETERS["parameters"]}
TRANSLATION_PARAMETERS = {"parameters": _parameters(TranslationQuery, "query") + TERMS_PARAMETERS["parameters"]}
GenerationDep = Annotated[GenerationService, service("generation")]
