"""By which host names requests may come, and for pages of which sites a browser may send them.

Both protect users of browsers: against DNS rebinding (a foreign name that leads to this service), and against requests
that a page of another site makes (cross-site request forgery, CSRF). `slimseq.app.http.middleware` asks for each
request.
"""

from collections.abc import Container, Sequence

from slimseq.app.errors import Forbidden, UntrustedHost

METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
# Methods that change something.
UNSAFE_METHODS = METHODS_WITH_BODY | {"DELETE"}


class TrustedHosts:
    """Checks by which host names requests come. `*.example.com` means all names below."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._endings = tuple(host[1:].lower() for host in hosts if host.startswith("*"))

    def check(self, host: str) -> None:
        name = host.lower()
        # Removes the port. An IPv6 address has colons too, but within brackets.
        if ":" in name.rpartition("]")[2]:
            name = name.rpartition(":")[0]
        if name not in self._names and not name.endswith(self._endings):
            raise UntrustedHost


def check_site(method: str, site: str, origin: str, host: str, trusted_origins: Container[str]) -> None:
    """Refuses what a browser sends for a page of another site, as `CrossOriginProtection` of Go's net/http does.

    `site`, `origin` and `host` are the headers `Sec-Fetch-Site`, `Origin` and `Host`, empty if the request has none.
    """
    if method not in UNSAFE_METHODS or origin in trusted_origins or "*" in trusted_origins:
        return
    # Old browsers send `Origin` alone.
    is_own = site in ("same-origin", "none") if site else origin.endswith(f"://{host}")
    if not is_own:
        sender = origin or "another site"
        raise Forbidden(f"pages of {sender} may not change anything here, unless SLIMSEQ_CORS_ORIGINS lists it")
