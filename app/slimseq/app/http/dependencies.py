"""Dependencies of the routes: the application's service objects, shared parameters, scopes and the audit log."""

import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Path, Query, Request

from slimseq.app.errors import Forbidden, InvalidRequest
from slimseq.app.http.callers import Admission, KeyRing
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import field_names, problem_type
from slimseq.app.setting_types import RuntimeChoice
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

TaskPath = Annotated[Task, Path(description="Task of the variant.")]
VariantPath = Annotated[str, Path(description="Name of the variant.")]
RuntimeQuery = Annotated[
    RuntimeChoice,
    Query(description="Runtime that generates. `auto` selects the fastest one measured on this type of CPU."),
]
OneTaskQuery = Annotated[Task | None, Query(description="Only this task.")]
OneVariantQuery = Annotated[str | None, Query(max_length=64, description="Only the variant of this name.")]
BeforeQuery = Annotated[int | None, Query(ge=0, lt=2**31, description="`next` of the page before.")]

UNIT_HEADER = "X-Slimseq-Unit"
UNIT_DESCRIPTION = (
    "What keeps its arm of an experiment, such as the id of a user. Its first rating counts, and its first vote on two "
    "arms. By default each request draws an arm, and each judgement counts."
)
UnitHeader = Annotated[str | None, Header(alias=UNIT_HEADER, max_length=256, description=UNIT_DESCRIPTION)]

audit_logger = logging.getLogger("slimseq.audit")


def service(name: str) -> Any:
    """Returns the dependency on a service object of the application, by its name in `slimseq.app.services`."""

    async def find(request: Request) -> Any:
        return getattr(request.app.state.services, name)

    return Depends(find)


def runtime_name(runtime: RuntimeChoice) -> str | None:
    return None if runtime == "auto" else runtime


async def admission_of(request: Request) -> Admission:
    return cast(Admission, request.state.admission)


AdmissionDep = Annotated[Admission, Depends(admission_of)]


async def admit_by_key(request: Request, key: str | None) -> Admission:
    """Admits a request by the key in its body, as LibreTranslate's clients send it, if its header has none."""
    services = request.app.state.services
    admission = await admission_of(request)
    if services.keys.has_keys and admission.caller.is_anonymous:
        caller = services.keys.by_token(key or "", request.state.address)
        admission = Admission(caller, services.usage)
        request.state.admission = admission
        await admission.request()
    check_scope(request, Scope.GENERATE)
    return admission


def check_scope(request: Request, scope: Scope, is_open_without_operators: bool = False) -> None:
    """Checks that the caller of a request has a scope. Otherwise the error says how to get it.

    `is_open_without_operators` allows everybody while the service has neither keys nor an operators' token.
    """
    caller = cast(Admission, request.state.admission).caller
    keys = cast(KeyRing, request.app.state.services.keys)
    if caller.may(scope) or (is_open_without_operators and not keys.has_operators):
        return
    if not keys.has_operators:
        raise Forbidden("only operators may do this: start the service with SLIMSEQ_ADMIN_TOKEN to allow it")
    if caller.is_anonymous:
        raise keys.refusal(request.headers.get("authorization", ""), request.state.address)
    raise Forbidden(f"this key may not do this: it needs the scope `{scope}`")


def requires(scope: Scope, is_open_without_operators: bool = False) -> Any:
    """Returns a dependency that lets only callers with a scope use a route, as `check_scope` does."""

    async def check(request: Request) -> None:
        check_scope(request, scope, is_open_without_operators)

    return Depends(check)


def audited(action: str) -> Any:
    """Returns a dependency that writes the requests of a route to the audit log, with their outcome."""

    async def log(request: Request, admission: AdmissionDep) -> AsyncIterator[None]:
        outcome = "done"
        try:
            yield
        except BaseException as error:
            outcome = problem_type(error).slug if isinstance(error, SlimseqError) else "failed"
            raise
        finally:
            audit_logger.info(
                action,
                extra={
                    "caller": admission.caller.name,
                    "key": admission.caller.identifier,
                    "client": request.state.address or None,
                    "outcome": outcome,
                    **request.path_params,
                },
            )

    return Depends(log)


def query_parameters(request: Request) -> dict[str, Any]:
    """Returns the schemas of the query parameters of a request's endpoint, by name."""
    operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    return {each["name"]: each["schema"] for each in operation.get("parameters", []) if each["in"] == "query"}


async def check_query(request: Request) -> None:
    """Checks a request's query against the documented parameters of its endpoint.

    Query models can forbid unknown parameters, but do not see that one is repeated, and an endpoint may have none.
    """
    if not request.scope["query_string"]:
        return
    known = query_parameters(request)
    counts = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in counts.items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            body = request.scope["route"].body_field
            is_body_field = body and name in field_names(body.field_info.annotation, ())
            hint = "; it is a field of the body" if is_body_field else ""
            raise InvalidRequest(f"query parameter {name[:64]!r}: is not one of this endpoint's{hint}; {has}")
        if count > 1 and known[name].get("type") != "array":
            raise InvalidRequest(f"query parameter {name[:64]!r}: is given {count} times; give it once")


# The dependency of routes that accept no other parameters than they document.
KNOWN_QUERY_ONLY = Depends(check_query)
