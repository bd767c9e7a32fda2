"""The query and the headers of a generation: which variant answers, and on which terms."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimseq.app.errors import InvalidRequest
from slimseq.app.generate.schemas import Language
from slimseq.app.generate.service import GenerationService
from slimseq.app.http.dependencies import UNIT_DESCRIPTION, UNIT_HEADER, check_query, check_scope, runtime_name
from slimseq.app.http.keys import Scope
from slimseq.app.http.limits import Admission
from slimseq.app.http.problems import describe
from slimseq.app.serving.selection.chooser import Choice
from slimseq.app.serving.terms import Priority, Terms
from slimseq.app.settings import RuntimeChoice

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
DEFAULT_TERMS = Terms()
# By path and query string, as clients send the same ones again and again.
_choices: dict[tuple[str, bytes], Choice] = {}
MAX_CHOICES = 256


class Call(NamedTuple):
    """A request for a generation: the service that answers it, and what it says beside its body."""

    service: GenerationService
    admission: Admission
    choice: Choice
    terms: Terms


# One dependency, since each costs a request 20 µs. FastAPI's own query and header models cost a third of a
# millisecond, most of it for absent parameters.
async def _call(request: Request) -> Call:
    check_scope(request, Scope.GENERATE)
    query: tuple[str, bytes] = (request.scope["path"], request.scope["query_string"])
    if query not in _choices:
        await check_query(request)
        if len(_choices) == MAX_CHOICES:
            _choices.clear()
        _choices[query] = choice_from(request.query_params)
    return Call(request.app.state.services.generation, request.state.admission, _choices[query], await _terms(request))


async def _terms(request: Request) -> Terms:
    # The first one of a name counts.
    headers = reversed(request.scope["headers"])
    given = {TERMS_HEADERS[name]: value.decode("latin-1") for name, value in headers if name in TERMS_HEADERS}
    if not given:
        return DEFAULT_TERMS
    named = _validated(TermsHeaders, given, "header")
    return Terms(named.unit, None if named.deadline_ms is None else named.deadline_ms / 1000, named.priority)


def choice_from(given: Mapping[str, str]) -> Choice:
    query = _validated(TranslationQuery, dict(given), "query")
    return Choice(**query.model_dump() | {"runtime": runtime_name(query.runtime)})


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


# The `openapi_extra` of routes with `TermsDep`, of those with `CallDep`, and of the latter's translations.
TERMS_PARAMETERS = {"parameters": _parameters(TermsHeaders, "header")}
GENERATION_PARAMETERS = {"parameters": _parameters(ChoiceQuery, "query") + TERMS_PARAMETERS["parameters"]}
TRANSLATION_PARAMETERS = {"parameters": _parameters(TranslationQuery, "query") + TERMS_PARAMETERS["parameters"]}
TermsDep = Annotated[Terms, Depends(_terms)]
CallDep = Annotated[Call, Depends(_call)]
