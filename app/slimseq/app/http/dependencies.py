"""Dependencies of the routes: the application's service objects, and query parameters that several routes share."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimseq.app.errors import InvalidRequest
from slimseq.app.http.validation import describe
from slimseq.app.services import Services
from slimseq.app.serving.selection.chooser import Choice
from slimseq.app.serving.terms import Priority, Terms
from slimseq.app.setting_types import RuntimeChoice
from slimseq.models_store.manifest import Task


async def services_of(request: Request) -> Services:
    """Returns the service objects of the application that handles the request."""
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(services_of)]

TaskPath = Annotated[Task, Path(description="Task of the variant.")]
VariantPath = Annotated[str, Path(description="Name of the variant.")]
RuntimeQuery = Annotated[
    RuntimeChoice,
    Query(description="Runtime that generates. `auto` selects the fastest one measured on this type of CPU."),
]
VariantQuery = Annotated[
    str | None, Query(max_length=64, description="Name of the variant. Default: the default variant of the task.")
]
RetentionQuery = Annotated[
    float | None,
    Query(
        gt=0,
        le=2,
        allow_inf_nan=False,
        description="Minimum retention, instead of a variant's name. Selects the fastest variant that keeps at least "
        "this share of the quality of the base model. The base model is that of the default variant.",
    ),
]
LatencyQuery = Annotated[
    float | None,
    Query(
        gt=0,
        allow_inf_nan=False,
        description="Maximum median latency of one text in milliseconds, as measured, instead of a variant's "
        "name. Selects the variant with the best retention; with `min_retention` the fastest one.",
    ),
]
BeforeQuery = Annotated[int | None, Query(ge=0, lt=2**31, description="`next` of the page before.")]
BytesQuery = Annotated[int | None, Query(gt=0, le=2**53, description="Maximum size of the model's files, likewise.")]


Model = TypeVar("Model", bound=BaseModel)


class ChoiceQuery(BaseModel):
    """The query parameters that select a variant and its runtime."""

    model_config = ConfigDict(extra="forbid")

    variant: VariantQuery = None
    min_retention: RetentionQuery = None
    max_latency_ms: LatencyQuery = None
    max_bytes: BytesQuery = None
    runtime: RuntimeQuery = "auto"


UNIT_HEADER = "X-Slimseq-Unit"
UNIT_DESCRIPTION = (
    "What keeps its arm of an experiment, such as the id of a user. Its first rating counts, and its first vote on two "
    "arms. By default each request draws an arm, and each judgement counts."
)
UnitHeader = Annotated[str | None, Header(alias=UNIT_HEADER, max_length=256, description=UNIT_DESCRIPTION)]


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

    @property
    def terms(self) -> Terms:
        """The terms."""
        return Terms(self.unit, None if self.deadline_ms is None else self.deadline_ms / 1000, self.priority)


TERMS_HEADERS = [field.alias for field in TermsHeaders.model_fields.values() if field.alias]
DEFAULT_TERMS = Terms()
DEFAULT_CHOICE = Choice()


# FastAPI's own query and header models cost each request a third of a millisecond, most of it for absent parameters.
async def _terms(request: Request) -> Terms:
    given = {name: request.headers[name] for name in TERMS_HEADERS if name in request.headers}
    return _validated(TermsHeaders, given, "header").terms if given else DEFAULT_TERMS


async def _choice(request: Request) -> Choice:
    return choice_from(request.query_params) if request.query_params else DEFAULT_CHOICE


def choice_from(given: Mapping[str, str]) -> Choice:
    """Returns the variant and the runtime that query parameters select.

    Raises:
        InvalidRequest: a parameter is unknown or wrong.
    """
    query = _validated(ChoiceQuery, dict(given), "query")
    return Choice(
        query.variant, query.min_retention, runtime_name(query.runtime), query.max_latency_ms, query.max_bytes
    )


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


# The `openapi_extra` of routes with `TermsDep`, and of those with `ChoiceDep` too.
TERMS_PARAMETERS = {"parameters": _parameters(TermsHeaders, "header")}
GENERATION_PARAMETERS = {"parameters": _parameters(ChoiceQuery, "query") + TERMS_PARAMETERS["parameters"]}
TermsDep = Annotated[Terms, Depends(_terms)]
ChoiceDep = Annotated[Choice, Depends(_choice)]


def runtime_name(runtime: RuntimeChoice) -> str | None:
    """Returns the runtime that a request names, None where the service selects it."""
    return None if runtime == "auto" else runtime


async def check_query(request: Request) -> None:
    """Checks a request's query against the documented parameters of its endpoint.

    Query models can forbid unknown parameters, but do not see that one is repeated, and an endpoint may have none.

    Raises:
        InvalidRequest: a parameter is unknown, or one that is no list is given more than once.
    """
    query = request.query_params
    if not query:
        return
    operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = {each["name"]: each["schema"] for each in operation.get("parameters", []) if each["in"] == "query"}
    for name, count in Counter(name for name, _ in query.multi_items()).items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InvalidRequest(f"query parameter {name[:64]!r}: is not one of this endpoint's; {has}")
        if count > 1 and known[name].get("type") != "array":
            raise InvalidRequest(f"query parameter {name[:64]!r}: is given {count} times; give it once")


KNOWN_QUERY_ONLY = Depends(check_query)
