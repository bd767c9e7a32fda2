"""Builds the FastAPI application from the settings: routes, middleware, error handling and lifespan."""

import asyncio
import contextlib
import importlib.metadata
import re
from collections.abc import AsyncIterator

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from slimseq.app.http.dependencies import TERMS_HEADERS
from slimseq.app.http.dialects.libretranslate import FORM_PATHS
from slimseq.app.http.form import FORM, MULTIPART
from slimseq.app.http.middleware.address import AddressMiddleware
from slimseq.app.http.middleware.body import JSON, BodyMiddleware
from slimseq.app.http.middleware.disconnect import DisconnectMiddleware
from slimseq.app.http.middleware.failure import FailureMiddleware, translate_exceptions
from slimseq.app.http.middleware.head import HeadMiddleware
from slimseq.app.http.middleware.identity import IdentityMiddleware
from slimseq.app.http.middleware.observation import ObservationMiddleware
from slimseq.app.http.middleware.security_headers import SecurityHeadersMiddleware
from slimseq.app.http.openapi import complete_openapi
from slimseq.app.http.routes import ROUTERS, page
from slimseq.app.http.strict_query import KNOWN_QUERY_ONLY, install_strict_query
from slimseq.app.services import Services
from slimseq.app.settings import Settings

VERSION = importlib.metadata.version("slimseq")
DESCRIPTION = "Serves compressed T5 and BART models side by side, and shows the cost and the quality of each variant."
# Other paths take JSON alone.
MEDIA_TYPES = {**dict.fromkeys(FORM_PATHS, (JSON, FORM, MULTIPART)), "/evaluations/upload": (MULTIPART,)}
# FastAPI's own telemetry has query strings and the texts of exceptions in it (docs/decisions/015-traces.md).
OWN_TRACES_ONLY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")


def is_valid_request_id(value: str) -> bool:
    """Whether a client's request id is used. Other ids are replaced by new ones."""
    return REQUEST_ID.fullmatch(value) is not None


def create_app(settings: Settings | None = None) -> FastAPI:
    """Builds the service. Variants are loaded when it starts.

    Args:
        settings: None reads the `SLIMSEQ_*` environment variables.

    Raises:
        UnusableStore: the store is missing or holds nothing.
        UnknownVariant: a default or a variant to preload is not in the store.
        UnusableDatabase: the URL of the database cannot be parsed.
        UnusableKeysFile: the keys cannot be read.
        UnusableKey: a key for signatures cannot be read.
    """
    settings = settings or Settings()
    services = Services.build(settings, VERSION)
    app = FastAPI(
        title="Slimseq",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        # FastAPI's own pages load their scripts from another site.
        docs_url=None,
        redoc_url=None,
        telemetry=OWN_TRACES_ONLY,
    )
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router, dependencies=[KNOWN_QUERY_ONLY])
    app.include_router(page.router)
    translate_exceptions(app)
    complete_openapi(app)
    install_strict_query(app)
    # The last one added sees a request first.
    app.add_middleware(HeadMiddleware)
    app.add_middleware(DisconnectMiddleware)
    app.add_middleware(
        BodyMiddleware,
        max_bytes=settings.max_body_bytes,
        max_values=settings.max_values,
        seconds=settings.request_timeout_seconds,
        media_types=MEDIA_TYPES,
    )
    app.add_middleware(IdentityMiddleware, keys=services.keys, usage=services.usage, key_in_body=FORM_PATHS)
    app.add_middleware(AddressMiddleware, hosts=settings.hosts, admin_port=settings.admin_port)
    app.add_middleware(FailureMiddleware)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID", *TERMS_HEADERS],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(SecurityHeadersMiddleware)
    # The paths of the documentation pages are not in the OpenAPI document.
    paths = [*app.openapi()["paths"], *(route.path for route in app.routes if isinstance(route, Route))]
    app.add_middleware(ObservationMiddleware, metrics=services.metrics, paths=paths, traces=services.traces)
    app.add_middleware(CorrelationIdMiddleware, validator=is_valid_request_id)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    services.keys.start()
    preloading = services.readiness.start()
    services.trimmer.start()
    services.traffic_sync.start()
    services.runner.start()
    try:
        yield
    finally:
        preloading.cancel()
        await asyncio.gather(preloading, return_exceptions=True)
        await services.close()
