"""Makes the applications for other APIs, which `slimseq.app.main` mounts below paths of their own.

Each API has a router and its own form of errors. Checks before the body is read are those of all requests
(`slimseq.app.http.middleware`), so that their errors are problems.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException

from slimseq.app.failures import answer_to
from slimseq.app.http.exceptions import translated
from slimseq.app.http.problems import problem_type
from slimseq.app.services import Services
from slimseq.models_store.errors import SlimseqError

# FastAPI's own telemetry has query strings and the texts of exceptions in it (docs/decisions/015-traces.md).
OWN_TRACES_ONLY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


async def _services(request: Request) -> Any:
    return request.app.state.services


ServicesDep = Annotated[Services, Depends(_services)]


def mounted_app(
    services: Services, router: APIRouter, error_response: Callable[[Request, SlimseqError], Response]
) -> FastAPI:
    """Returns an application with the routes of a router, whose errors `error_response` answers."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, RequestValidationError | HTTPException):
            error = translated(request, error)
        elif not isinstance(error, SlimseqError):
            # Starlette raises the exception again after the response, so that the middleware logs it.
            error = answer_to(error, "the request cannot be answered")
        request.state.problem = problem_type(error).slug
        return error_response(request, error)

    kinds = (SlimseqError, RequestValidationError, HTTPException, Exception)
    handlers: dict[int | type[Exception], Any] = dict.fromkeys(kinds, answer)
    app = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        telemetry=OWN_TRACES_ONLY,
        exception_handlers=handlers,
    )
    app.state.services = services
    app.include_router(router)
    return app
