"""The application: settings in, a FastAPI app out, with its layers, routes, error handling and life span."""

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.routing import Route

from slimseq.app.http.middleware.body import BodyMiddleware
from slimseq.app.http.middleware.disconnect import DisconnectMiddleware
from slimseq.app.http.middleware.failure import FailureMiddleware
from slimseq.app.http.middleware.observation import ObservationMiddleware
from slimseq.app.http.middleware.request_id import RequestIdMiddleware
from slimseq.app.http.openapi import install_openapi
from slimseq.app.http.problems import install_problems
from slimseq.app.http.routes import ROUTERS
from slimseq.app.http.strict_query import KNOWN_QUERY_ONLY, install_strict_query
from slimseq.app.services import Services
from slimseq.app.settings import Settings

VERSION = importlib.metadata.version("slimseq")
DESCRIPTION = "Serves compressed T5 and BART models side by side, and says what each variant costs and keeps."


def create_app(settings: Settings | None = None) -> FastAPI:
    """Builds the service; variants are opened once it starts.

    Args:
        settings: what to serve and how; None reads `SLIMSEQ_*` from the environment.

    Raises:
        UnusableStore: the store is missing or holds nothing.
        UnknownVariant: a default or a variant to preload is not in the store.
    """
    settings = settings or Settings()
    services = Services.build(settings, VERSION)
    app = FastAPI(title="Slimseq", version=VERSION, description=DESCRIPTION, lifespan=_lifespan)
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router, dependencies=[KNOWN_QUERY_ONLY])
    install_problems(app)
    install_openapi(app)
    install_strict_query(app)
    # Added innermost first: the last one added sees a request first.
    app.add_middleware(DisconnectMiddleware)
    app.add_middleware(
        BodyMiddleware,
        max_bytes=settings.max_body_bytes,
        max_values=settings.max_values,
        seconds=settings.request_timeout_seconds,
    )
    app.add_middleware(FailureMiddleware)
    # Those of the documentation are no part of it.
    paths = [*app.openapi()["paths"], *(route.path for route in app.routes if isinstance(route, Route))]
    app.add_middleware(ObservationMiddleware, metrics=services.metrics, paths=paths)
    app.add_middleware(RequestIdMiddleware)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    preloading = services.readiness.start()
    services.trimmer.start()
    try:
        yield
    finally:
        preloading.cancel()
        await asyncio.gather(preloading, return_exceptions=True)
        await services.close()
