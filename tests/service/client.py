"""An HTTP client for tests, as a stranger would write it. It shares no code with `slimseq.client`."""

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

from tests.forking import Forked

TIMEOUT_SECONDS = 120
T = TypeVar("T")
BOUNDARY = "slimseq-boundary"


@dataclass(frozen=True)
class Response:
    """One answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def problem(self) -> SimpleNamespace:
        """The fields of an error (`application/problem+json`). Fails where the answer is none."""
        assert self.headers["content-type"] == "application/problem+json", self.text
        problem = SimpleNamespace(**self.json)
        assert problem.status == self.status
        return problem

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Server-Sent Events as `(name, data)`."""
        assert self.headers["content-type"].startswith("text/event-stream"), self.text
        events = []
        for block in self.text.split("\n\n"):
            if block:
                name, data = block.split("\n")
                events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return events


def texts(response: Response) -> list[str]:
    """The texts of the outputs of an answer. Fails where the answer is an error."""
    assert response.status == 200, response.text
    return [output["text"] for output in response.json["outputs"]]


class Service:
    """A running service. Each call takes a connection of its own, so that threads may share one client."""

    def __init__(self, port: int, process: "Forked | subprocess.Popen[bytes] | None" = None) -> None:
        self.port = port
        self._process = process
        # Headers of every request, such as one with a key.
        self.headers: dict[str, str] = {}

    @property
    def process(self) -> "Forked | subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Sends a signal; returns how many seconds the process lived on."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        return time.monotonic() - started

    def get(self, path: str, headers: dict[str, str] | None = None) -> Response:
        return self.send("GET", path, headers=headers)

    def delete(self, path: str) -> Response:
        return self.send("DELETE", path)

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> Response:
        return self.send(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
        )

    def upload(self, path: str, fields: Sequence[tuple[str, str]], file: tuple[str, bytes]) -> Response:
        """Posts a form with fields and a file, as a browser does."""
        parts = [_part(f'name="{name}"', value.encode()) for name, value in fields]
        name, content = file
        body = b"".join([*parts, _part(f'name="file"; filename="{name}"', content), f"--{BOUNDARY}--\r\n".encode()])
        return self.send("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, chunked: bool = False
    ) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})}, encode_chunked=chunked)
            answer = connection.getresponse()
            return Response(
                answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
            )
        finally:
            connection.close()

    def wait_until_answering(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.get("/healthz")
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the service does not answer; its process ended with {self.process.poll()}")

    def wait_until_ready(self, seconds: float = 60) -> None:
        answer = eventually(lambda: self.get("/readyz"), lambda answer: answer.status == 200, seconds)
        assert answer.status == 200, answer.text


def eventually(find: Callable[[], T], is_so: Callable[[T], object] = bool, seconds: float = 60) -> T:
    """Calls `find` again and again. Returns what it finds once `is_so` holds for that, or once the time is over."""
    until = time.monotonic() + seconds
    while True:
        found = find()
        if is_so(found) or time.monotonic() >= until:
            return found
        time.sleep(0.02)


def _part(disposition: str, content: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"
