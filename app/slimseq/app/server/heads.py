"""Heads of requests: what they may be, beyond what the parser checks, and how some are rewritten."""

import re
from collections.abc import Sequence

import httptools

Headers = Sequence[tuple[bytes, bytes]]

VERSIONS = ("1.1", "1.0")
HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*")


def what_is_wrong(version: str, headers: Headers) -> str | None:
    """Returns what is wrong with a head that the parser accepts, None if nothing is.

    A request has one Host header with one host (RFC 9112, 3.2), and no coding of its body but `chunked`, which came
    with HTTP/1.1 (6.1): a proxy could see another end of the body. It has at most one Authorization header (RFC 9110,
    5.3): a proxy could check another one.
    """
    hosts = authorizations = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if not HOST.fullmatch(value):
                return "its Host header is not a host"
        elif name == b"authorization":
            authorizations += 1
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version == "1.0"):
            return "its Transfer-Encoding is not supported"
    if hosts > 1 or (hosts == 0 and version != "1.0"):
        return f"it has {hosts} Host headers instead of one"
    if authorizations > 1:
        return f"it has {authorizations} Authorization headers"
    return None if version in VERSIONS else f"HTTP/{version} is not supported"


def with_host_of_url(url: bytes, headers: Headers) -> list[tuple[bytes, bytes]]:
    """Returns headers whose Host is that of a URL, if the URL has one (RFC 9112, 3.2.2)."""
    parsed = httptools.parse_url(url)
    if not parsed.host:
        return list(headers)
    host = parsed.host if parsed.port is None else b"%s:%d" % (parsed.host, parsed.port)
    return [(name, host if name == b"host" else value) for name, value in headers]


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """Returns the bytes of a head that asks for no upgrade. It closes the connection if it did before."""
    kept = [
        b"%s: %s\r\n" % (name, b"close" if name == b"connection" else value)
        for name, value in headers
        if name != b"upgrade" and (name != b"connection" or b"close" in value.lower())
    ]
    return b"".join([b"%s %s HTTP/%s\r\n" % (method, url, version.encode()), *kept, b"\r\n"])
