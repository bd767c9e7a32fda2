"""Which requests may come by which host name and to which port."""

from collections.abc import Sequence
from typing import Any

from slimseq.app.errors import NotFound, UntrustedHost

PROBES = frozenset({"/healthz", "/readyz"})
METRICS = "/metrics"
LOADING = ("/load", "/unload")


class Addresses:
    """Checks the host name and the port of requests.

    Args:
        hosts: names by which requests may come, `*.example.com` for all below. Empty: any.
        admin_port: the only port with metrics, loading and unloading. None: they are on the one port.
    """

    def __init__(self, hosts: Sequence[str] = (), admin_port: int | None = None) -> None:
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._endings = tuple(host[1:].lower() for host in hosts if host.startswith("*"))
        self._admin_port = admin_port

    def check(self, path: str, host: str, server: Any) -> None:
        """Checks a request.

        Args:
            path: its path.
            host: its header `Host`.
            server: host and port of the socket, as ASGI has them.

        Raises:
            UntrustedHost: the request names another host.
            NotFound: the path is on another port.
        """
        if path in PROBES:
            return
        if self._names or self._endings:
            name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
            if name.lower() not in self._names and not name.lower().endswith(self._endings):
                raise UntrustedHost
        if self._admin_port is not None:
            is_admin = path == METRICS or (path.startswith("/variants/") and path.endswith(LOADING))
            if is_admin != (server is not None and server[1] == self._admin_port):
                raise NotFound(f"there is nothing at {path} on this port")
