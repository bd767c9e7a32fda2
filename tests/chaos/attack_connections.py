"""Clients that do not speak HTTP as they should: bodies without end, headers without end, and silence."""

import contextlib
import socket
import time
from collections.abc import Iterator

from tests.chaos.target import Target, watching

MEGABYTE = 1_000_000
CHUNK = b"x" * 65_536
# What the service reads of a body after its answer, and what the buffers of the system hold.
BUFFERED_BYTES = 40 * MEGABYTE


def _sent(target: Target, head: bytes, piece: bytes, most: int = 400 * MEGABYTE, seconds: float = 10) -> int:
    """Sends a head and then a piece again and again; returns how many bytes were taken."""
    taken = 0
    line, _, rest = head.partition(b"\r\n")
    keys = b"".join(f"{name}: {value}\r\n".encode() for name, value in target.service.headers.items())
    head = line + b"\r\n" + keys + rest
    with socket.create_connection(("127.0.0.1", target.service.port), timeout=2) as connection:
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            connection.sendall(head)
            while taken < most and time.monotonic() < deadline:
                taken += connection.send(piece)
    return taken


def bodies_without_end(target: Target) -> Iterator[str]:
    """Goes on sending a chunked body after its 413, and a body with a GET."""
    chunk = b"%x\r\n" % len(CHUNK) + CHUNK + b"\r\n"
    heads = {
        "a chunked POST": b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        "a chunked GET": b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    }
    for name, head in heads.items():
        if (taken := _sent(target, head, chunk)) > 8 * 1024 * 1024 + BUFFERED_BYTES:
            yield f"{name}: {taken / MEGABYTE:.0f} MB were read"
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n"
    if (taken := _sent(target, head, CHUNK)) > 8 * 1024 * 1024 + BUFFERED_BYTES:
        yield f"a GET with a length: {taken / MEGABYTE:.0f} MB were read"


def a_header_without_end(target: Target) -> Iterator[str]:
    """Sends 200 MB in one header."""
    with watching(target) as watch:
        taken = _sent(target, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ", CHUNK, most=200 * MEGABYTE)
    if taken > BUFFERED_BYTES:
        yield f"{taken / MEGABYTE:.0f} MB were read"
    if watch.longest_probe > 1:
        yield f"/healthz took {watch.longest_probe * 1000:.0f} ms"


def silent_connections(target: Target) -> Iterator[str]:
    """Opens 200 connections that say nothing, or a byte a second."""
    connections = [socket.create_connection(("127.0.0.1", target.service.port), timeout=5) for _ in range(200)]
    try:
        with watching(target) as watch:
            deadline = time.monotonic() + 60
            still_open = list(connections)
            while still_open and time.monotonic() < deadline:
                still_open = [each for each in still_open if _is_open(each, trickles=connections.index(each) % 2 == 0)]
                time.sleep(1)
    finally:
        for connection in connections:
            connection.close()
    if still_open:
        yield f"{len(still_open)} of 200 were open after a minute"
    if watch.longest_probe > 1:
        yield f"/healthz took {watch.longest_probe * 1000:.0f} ms"
    if "connection" not in target.log.read_text().lower():
        yield "nothing in the log"


def _is_open(connection: socket.socket, *, trickles: bool) -> bool:
    try:
        if trickles:
            connection.send(b"G")
        connection.settimeout(0.001)
        return connection.recv(4096) != b""
    except TimeoutError:
        return True
    except OSError:
        return False
