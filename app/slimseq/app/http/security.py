"""What a request may do: its caller, the scope that a route needs, and the audit log of what changes the service."""

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from slimseq.app.errors import Forbidden, OutOfScope, Unauthenticated
from slimseq.app.http.dependencies import ServicesDep, services_of
from slimseq.app.http.keys import Scope
from slimseq.app.http.limits import Admission
from slimseq.app.http.problems import problem_type
from slimseq.models_store.errors import SlimseqError

# Probes, documentation, and what LibreTranslate's servers tell everybody. They need no key.
OPEN_PATHS = frozenset(
    {
        "/",
        "/docs",
        "/favicon.ico",
        "/healthz",
        "/libretranslate/frontend/settings",
        "/libretranslate/health",
        "/libretranslate/languages",
        "/openapi.json",
        "/readyz",
    }
)
OPEN_PREFIXES = ("/assets/", "/problems/")

audit_logger = logging.getLogger("slimseq.audit")


async def admission_of(request: Request) -> Admission:
    """Returns the admission of a request, which the middleware made."""
    return cast(Admission, request.state.admission)


async def admit_by_key(request: Request, key: str | None) -> None:
    """Lets a request in whose key is in its body, as LibreTranslate's clients send it.

    Args:
        request: the request. If its header had a key, that one counts.
        key: of the body.

    Raises:
        Unauthenticated: there are keys, and the request has none that is valid.
        Forbidden: the key is not for generation.
        KeyLimitReached: the key has used what it may use.
    """
    services, admission = await services_of(request), await admission_of(request)
    if services.keys.has_keys and admission.caller.is_anonymous:
        caller = await services.keys.by_token(key or "")
        admission = request.state.admission = Admission(caller, services.usage)
        await admission.request()
    if not admission.caller.may(Scope.GENERATE):
        raise OutOfScope(Scope.GENERATE)


AdmissionDep = Annotated[Admission, Depends(admission_of)]


def requires(scope: Scope, is_open_without_operators: bool = False) -> Any:
    """Returns the dependency of routes that only callers with a scope may use.

    Args:
        scope: what they need.
        is_open_without_operators: whether everybody may use them until there are operators.
    """

    async def check(admission: AdmissionDep, services: ServicesDep) -> None:
        if admission.caller.may(scope):
            return
        if not services.keys.has_operators:
            if is_open_without_operators:
                return
            raise Forbidden("only operators may do this: start the service with SLIMSEQ_ADMIN_TOKEN to allow it")
        if admission.caller.is_anonymous:
            raise Unauthenticated
        raise OutOfScope(scope)

    return Depends(check)


def audited(action: str) -> Any:
    """Returns the dependency of routes whose requests are in the audit log, with their outcome."""

    async def log(request: Request, admission: AdmissionDep) -> AsyncIterator[None]:
        outcome = "done"
        try:
            yield
        except SlimseqError as error:
            outcome = problem_type(error).slug
            raise
        except BaseException:
            outcome = "failed"
            raise
        finally:
            audit_logger.info(
                action,
                extra={
                    "caller": admission.caller.name,
                    "key": admission.caller.identifier,
                    "client": request.client.host if request.client else None,
                    "outcome": outcome,
                    **request.path_params,
                },
            )

    return Depends(log)
