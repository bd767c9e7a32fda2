"""Which requests may come by which host name and to which port."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from slimseq.app.errors import NotFound, UntrustedHost

PROBES = frozenset({"/healthz", "/readyz"})
OF_OPERATORS = "/metrics"
LOADING = ("/load", "/unload")


class AddressMiddleware:
    """Checks the host name and the port of a request."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = (), admin_port: int | None = None) -> None:
        """Wraps an ASGI application.

        Args:
            app: the application.
            hosts: names by which requests may come, `*.example.com` for all below. Empty: any.
            admin_port: the only port with metrics, loading and unloading. None: they are on the one port.
        """
        self.app = app
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._endings = tuple(host[1:].lower() for host in hosts if host.startswith("*"))
        self._admin_port = admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request.

        Raises:
            UntrustedHost: the request names another host.
            NotFound: the path is on another port.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if (self._names or self._endings) and scope["path"] not in PROBES:
            self._check_host(Headers(scope=scope).get("host", ""))
        if self._admin_port is not None:
            self._check_port(scope)
        await self.app(scope, receive, send)

    def _check_host(self, host: str) -> None:
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        name = name.lower()
        if name not in self._names and not (self._endings and name.endswith(self._endings)):
            raise UntrustedHost

    def _check_port(self, scope: Scope) -> None:
        path, port = scope["path"], (scope.get("server") or (None, None))[1]
        is_admin = path == OF_OPERATORS or (path.startswith("/variants/") and path.endswith(LOADING))
        if path not in PROBES and is_admin != (port == self._admin_port):
            raise NotFound(f"there is nothing at {path} on this port")
