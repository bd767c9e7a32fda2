"""Raw connections, for requests that no HTTP client sends: endless bodies, half a header, or nothing at all."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator

from tests.service.client import Response, Service

HEAD = "{method} {path} HTTP/1.1\r\nHost: slimseq\r\nContent-Type: application/json\r\n{more}\r\n"
CHUNK = 64 * 1024


def connect(service: Service, seconds: float = 30, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), seconds, (address, 0))


def head(method: str, path: str, *more: str) -> bytes:
    """Returns a request line and headers, `more` of them as given, and the empty line that ends them."""
    return HEAD.format(method=method, path=path, more="".join(f"{line}\r\n" for line in more)).encode()


def answer_of(connection: socket.socket, method: str = "POST") -> Response:
    """Reads one answer and not a byte more, so that the next one can be read."""
    with connection.makefile("rb", buffering=0) as arriving:
        status = int(arriving.readline().split()[1])
        headers = {}
        while line := arriving.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        length = 0 if method == "HEAD" else int(headers["content-length"])
        body = b""
        while len(body) < length:
            piece = arriving.read(length - len(body))
            assert piece, "the answer ended early"
            body += piece
    return Response(status, headers, body)


def reads_nothing(connection: socket.socket, seconds: float) -> bool:
    """Sends requests and reads no answer, so that answers fill all buffers.

    Returns whether the service closed the connection in time.
    """
    # A small buffer is full soon.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    until = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            connection.sendall(head("GET", "/openapi.json"))
            time.sleep(0.02)
    return time.monotonic() < until


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Encodes the pieces of a body for `Transfer-Encoding: chunked`."""
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)


def send_until_refused(connection: socket.socket, pieces: Iterable[bytes], most: int, seconds: float = 30) -> None:
    """Sends pieces until the service closes the connection. Fails if it takes more than `most` bytes."""
    sent = 0
    until = time.monotonic() + seconds
    try:
        for piece in pieces:
            connection.sendall(piece)
            sent += len(piece)
            assert sent <= most, f"{sent} bytes were taken"
            assert time.monotonic() < until, "the connection is still open"
    except OSError:
        pass


class HealthWatch:
    """Asks `/healthz` again and again, on a thread, and keeps the time of each answer."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.seconds: list[float] = []

    def __enter__(self) -> "HealthWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def slowest_seconds(self) -> float:
        assert self.seconds
        return max(self.seconds)

    def _ask(self) -> None:
        while not self._is_over.is_set():
            started = time.monotonic()
            assert self._service.get("/healthz").status == 200
            self.seconds.append(time.monotonic() - started)
            time.sleep(0.01)
