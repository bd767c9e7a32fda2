"""A local server that speaks as much of the Hugging Face hub's protocol as a download needs."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GATED = "slimseq/gated"


class HubHandler(BaseHTTPRequestHandler):
    """Answers for the model folders in `models`, by id."""

    models: ClassVar[dict[str, Path]] = {}
    asked: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        self.asked.append(f"{self.command} {path}")
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self._answer_api("/".join(parts[2:4]), parts[4:], with_body)
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._answer_file("/".join(parts[:2]), "/".join(parts[4:]), with_body)
        else:
            self._send(HTTPStatus.NOT_FOUND, b"{}", with_body)

    def _answer_api(self, model: str, rest: list[str], with_body: bool) -> None:
        if model == GATED:
            self._send(HTTPStatus.FORBIDDEN, b"{}", with_body, {"X-Error-Code": "GatedRepo"})
        elif model not in self.models:
            self._send(HTTPStatus.NOT_FOUND, b"{}", with_body, {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT):
            self._send(HTTPStatus.NOT_FOUND, b"{}", with_body, {"X-Error-Code": "RevisionNotFound"})
        else:
            files = sorted(path.name for path in self.models[model].iterdir())
            body = {"id": model, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            self._send(HTTPStatus.OK, json.dumps(body).encode(), with_body)

    def _answer_file(self, model: str, name: str, with_body: bool) -> None:
        path = self.models[model] / name
        if not path.is_file():
            self._send(HTTPStatus.NOT_FOUND, b"{}", with_body, {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        self._send(HTTPStatus.OK, content, with_body, headers)

    def _send(self, status: HTTPStatus, body: bytes, with_body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@contextlib.contextmanager
def running_hub(models: dict[str, Path]) -> Iterator[str]:
    """Serves model folders by id until the block ends; yields the endpoint's address."""
    HubHandler.models = models
    HubHandler.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
