"""Builds the FastAPI application from the settings: routes, middleware, error handling and lifespan."""

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator
from typing import cast

from fastapi import FastAPI
from starlette.formparsers import MultiPartParser
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Route

from slimseq.app.dialects import huggingface, libretranslate
from slimseq.app.dialects.mounting import OWN_TRACES_ONLY, mounted_app
from slimseq.app.evaluations import routes as evaluations
from slimseq.app.experiments import routes as experiments
from slimseq.app.generate import routes as generate
from slimseq.app.generate.routes import TERMS_HEADERS
from slimseq.app.http.body import FORM, JSON, MULTIPART, BodyReader
from slimseq.app.http.dependencies import KNOWN_QUERY_ONLY
from slimseq.app.http.exceptions import translate_exceptions
from slimseq.app.http.middleware import ServiceMiddleware
from slimseq.app.http.openapi import complete_openapi
from slimseq.app.http.sites import TrustedHosts
from slimseq.app.services import Services
from slimseq.app.serving.heap import keep_collecting, keep_trimming
from slimseq.app.setting_types import listed
from slimseq.app.settings import Settings
from slimseq.app.variants import routes as variants
from slimseq.app.web import routes as web

# In the order in which `/docs` shows them, after the routes of generation.
ROUTERS = (
    variants.router,
    variants.measurements,
    evaluations.router,
    experiments.router,
    variants.operation,
)

VERSION = importlib.metadata.version("slimseq")
DESCRIPTION = "Serves compressed T5 and BART models side by side, and shows the cost and the quality of each variant."
FORM_PATHS = [libretranslate.PATH + path for path in libretranslate.FORM_PATHS]
# The media types of bodies by path. Other paths take only JSON.
MEDIA_TYPES: dict[str, tuple[str, ...]] = dict.fromkeys(FORM_PATHS, (JSON, FORM, MULTIPART))
MEDIA_TYPES["/evaluations/upload"] = (MULTIPART,)


def create_app(settings: Settings | None = None, replica: str | None = None) -> FastAPI:
    """Builds the service. Variants are loaded when it starts. Without settings, it reads `SLIMSEQ_*` variables.

    Args:
        settings: of the service.
        replica: name of this replica in a cluster, which some responses show.

    Raises:
        pydantic.ValidationError: a variable is no valid setting.
        UnusableStore: the store is missing or empty, or the default pair has no variant.
        UnknownVariant: a setting names a variant that the store does not have.
        UnusableKeysFile: the keys file is missing, malformed or readable by others.
        SlimseqError: a public key of `trusted_keys` cannot be read.
    """
    settings = settings or Settings()
    services = Services(settings, VERSION, replica)
    app = FastAPI(
        title="Slimseq",
        version=VERSION,
        description=DESCRIPTION,
        # FastAPI first looks for the router of a request, and then for the route in this router. Most requests are for
        # the routes of generation, so the app gets these routes directly. They call `check_query` themselves.
        routes=generate.router.routes,
        lifespan=_lifespan,
        redirect_slashes=False,
        # FastAPI's own pages load their scripts from another site.
        docs_url=None,
        redoc_url=None,
        # FastAPI reads this, and then records nothing itself. `slimseq.app.observability` makes the traces.
        telemetry=OWN_TRACES_ONLY,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.services = services
    for router in ROUTERS:
        # Refuses a request whose query has an unknown parameter.
        app.include_router(router, dependencies=[KNOWN_QUERY_ONLY])
    # Pages take any query.
    app.include_router(web.router)
    for dialect in (libretranslate, huggingface):
        app.mount(dialect.PATH, mounted_app(services, dialect.router, dialect.error_response))
    translate_exceptions(app)
    # This comes after all routes, since `complete_openapi` and `_paths` read them.
    complete_openapi(app)
    # Starlette writes uploads above this size to a temporary folder, which a read-only container does not have. No body
    # is larger than `max_body_bytes`, so every upload stays in memory. Starlette has only this class attribute for it.
    MultiPartParser.spool_max_size = settings.max_body_bytes + 1
    origins = listed(settings.cors_origins)
    hosts = listed(settings.trusted_hosts)
    app.add_middleware(
        ServiceMiddleware,
        bodies=BodyReader(settings.max_body_bytes, settings.max_values, settings.request_timeout_seconds, MEDIA_TYPES),
        keys=services.keys,
        usage=services.usage,
        metrics=services.metrics,
        hosts=TrustedHosts(hosts) if hosts else None,
        traces=services.traces,
        paths=_paths(app),
        key_in_body=frozenset(FORM_PATHS),
        origins=frozenset(origins),
    )
    if origins:
        # The last one added sees a request first.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID", *TERMS_HEADERS.values()],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )
    return app


def _paths(app: FastAPI) -> frozenset[str]:
    """Returns the templates of all paths, such as `/variants/{task}`, also those of mounted dialects.

    Metrics and traces name a request by its template.
    """
    paths = set(app.openapi()["paths"])
    for route in app.routes:
        if isinstance(route, Route):
            paths.add(route.path)
        elif isinstance(route, Mount):
            dialect = cast(FastAPI, route.app)
            paths.update(route.path + path for path in dialect.openapi()["paths"])
    return frozenset(paths)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts the background work of the services, and ends it when the service stops."""
    services: Services = app.state.services
    services.keys.start()
    services.traffic_sync.start(services.experiments.decide)
    # Loads the default variants. Promotions in the database may change which variants are the default, so the loading
    # waits until the service has tried to read the promotions.
    preloading = services.readiness.start(services.traffic_sync.has_tried.wait())
    trimming = asyncio.create_task(keep_trimming(services.pool.idle_seconds))
    collecting = asyncio.create_task(keep_collecting(services.pool.idle_seconds))
    tasks = [preloading, trimming, collecting]
    services.runner.start()
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.close()
