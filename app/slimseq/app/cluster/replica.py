"""The deployment of Ray Serve: each replica is the whole application, in a process of its own.

Ray starts, replaces, scales and drains replicas, and its proxies forward requests to them. A replica adds what Ray
cannot know: when it is ready, and the metrics of the service.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimseq.app.cluster.metrics import RayMetrics, keep_publishing
from slimseq.app.errors import UnusableStore
from slimseq.app.failures import switch_off_backtraces
from slimseq.app.main import create_app
from slimseq.app.observability.logs import configure_logging
from slimseq.app.services import Services
from slimseq.app.serving.heap import bound_heaps
from slimseq.app.settings import Settings
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

DEPLOYMENT = "Slimseq"
POLL_SECONDS = 0.1


class ReplicaOptions(BaseModel):
    """The `args` of the application in a Serve config."""

    model_config = ConfigDict(extra="forbid")

    # Settings by their name. Other settings, and secrets, come from `SLIMSEQ_*` in the environment of each node.
    settings: dict[str, Any] = {}
    # The digest of each artifact, by `task/variant`. A changed digest makes Ray restart the replicas, a few at a time.
    digests: dict[str, str] = {}


class ProxyRequestId:
    """Removes the request id from responses: Ray's proxy, from which the application has it, adds it too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message["headers"] if header[0].lower() != b"x-request-id"]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, without_id)


class Replica:
    """One replica. Ray calls its methods on the event loop of the application."""

    def __init__(self, options: ReplicaOptions) -> None:
        self._options = options
        self._services: Services

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Builds the application. Ray then runs its lifespan, which starts to load variants."""
        bound_heaps()
        switch_off_backtraces()
        settings = Settings(**self._options.settings)
        name = serve.get_replica_context().replica_tag
        app = create_app(settings, name)
        app.add_middleware(ProxyRequestId)
        check_digests(Store(settings.store), self._options.digests)
        configure_logging(settings.log_level)
        self._services = app.state.services
        show_metrics(app, RayMetrics(self._services.metrics.registry, name))
        return app

    async def check_health(self) -> None:
        """Answers as `GET /readyz`. The first call, after which the replica gets requests, waits for the preloading."""
        while self._services.readiness.is_loading:
            await asyncio.sleep(POLL_SECONDS)
        self._services.readiness.check()


def show_metrics(app: FastAPI, metrics: RayMetrics) -> None:
    """Makes Ray show the metrics while the application runs."""
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def with_metrics(app: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(app) as state:
            publishing = asyncio.create_task(keep_publishing(metrics))
            try:
                yield state
            finally:
                publishing.cancel()

    app.router.lifespan_context = with_metrics


def check_digests(store: Store, digests: dict[str, str]) -> None:
    """Checks that the store of this node has the artifacts of the deployment. Else replicas would answer differently.

    Raises:
        UnusableStore: an artifact has another digest.
        UnknownVariant: an artifact is missing.
    """
    for name, digest in digests.items():
        task, _, variant = name.partition("/")
        found = store.manifest(Task(task), variant).digest
        if found != digest:
            raise UnusableStore(
                f"{name} in {store.root} has the digest {found}, and the deployment is for {digest}: copy the artifact "
                "to this node, or write the config again with `slimseq deploy ray --force`"
            )


def application(options: ReplicaOptions) -> Application:
    """Returns the application of a Serve config, whose `import_path` names this function."""
    deployment: Any = serve.deployment(name=DEPLOYMENT)(serve.ingress()(Replica))
    return deployment.bind(options)
