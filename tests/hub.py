"""A local stand-in for the Hugging Face hub: as much of its protocol as downloads of models and data sets need."""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# A model that the hub refuses, as one whose terms nobody has accepted.
GATED = "slimseq/gated"
# The hub's bot offers safetensors of old models in a pull request. A model `ID` has one if there is a folder with its
# files under `ID@PULL_REQUEST`.
PULL_REQUEST, PULL_REQUEST_COMMIT = "refs/pr/45", "f" * 40
API = re.compile(r"/api/(?P<kind>models|datasets)/(?P<id>[^/]+/[^/]+)(?:/(?P<rest>.*))?")
FILE = re.compile(r"/(?P<datasets>datasets/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
RANGE = re.compile(r"bytes=(?P<first>\d+)-(?P<last>\d*)")


class Quiet:
    """A mixin for handlers of `http.server` that log nothing."""

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


class HubHandler(Quiet, BaseHTTPRequestHandler):
    """Serves the folders in `models` and `datasets`, by id. `asked` lists the method and path of each request."""

    models: ClassVar[dict[str, Path]] = {}
    datasets: ClassVar[dict[str, Path]] = {}
    asked: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        url = urlsplit(self.path)
        self.asked.append(f"{self.command} {url.path.strip('/')}")
        api = API.fullmatch(url.path)
        file = FILE.fullmatch(url.path)
        if api and api["rest"] == "discussions":
            self._answer_discussions(api["id"], with_body)
        elif api:
            folders = self.models if api["kind"] == "models" else self.datasets
            recursive = parse_qs(url.query).get("recursive") == ["True"]
            self._answer_api(folders, api["id"], (api["rest"] or "").split("/"), recursive, with_body)
        elif file:
            folders = self.datasets if file["datasets"] else self.models
            is_pull = unquote(file["revision"]) in (PULL_REQUEST, PULL_REQUEST_COMMIT)
            repository = f"{file['id']}@{PULL_REQUEST}" if is_pull else file["id"]
            self._answer_file(folders, repository, file["name"], with_body)
        else:
            self._send(HTTPStatus.NOT_FOUND, b"{}", with_body)

    def _answer_discussions(self, model: str, with_body: bool) -> None:
        """Lists the open pull requests of a model: the bot's pull request, or none."""
        pull = {"title": "Adding `safetensors` variant of this model", "num": 45, "isPullRequest": True}
        pull |= {"status": "open", "author": {"name": "SFconvertbot"}, "createdAt": "2024-01-01T00:00:00.000Z"}
        pull |= {"repo": {"name": model, "type": "model"}}
        found = [pull] if f"{model}@{PULL_REQUEST}" in self.models else []
        answer = {"discussions": found, "count": len(found), "start": 0}
        self._send(HTTPStatus.OK, json.dumps(answer).encode(), with_body)

    def _answer_api(
        self, folders: dict[str, Path], name: str, rest: list[str], recursive: bool, with_body: bool
    ) -> None:
        """Answers with the files of a folder (`tree/REVISION/FOLDER`), or with what a repository has (all others)."""
        commit = COMMIT
        if len(rest) > 1 and unquote(rest[1]) in (PULL_REQUEST, PULL_REQUEST_COMMIT):
            name = f"{name}@{PULL_REQUEST}"
            commit = PULL_REQUEST_COMMIT
            rest = [rest[0], PULL_REQUEST_COMMIT]
        if name == GATED:
            self._send(HTTPStatus.FORBIDDEN, b"{}", with_body, {"X-Error-Code": "GatedRepo"})
        elif name not in folders:
            self._send(HTTPStatus.NOT_FOUND, b"{}", with_body, {"X-Error-Code": "RepoNotFound"})
        elif rest[0] == "revision" and rest[1] not in ("main", commit):
            self._send(HTTPStatus.NOT_FOUND, b"{}", with_body, {"X-Error-Code": "RevisionNotFound"})
        elif rest[0] == "tree":
            folder = folders[name].joinpath(*rest[2:])
            found = folder.rglob("*") if recursive else folder.iterdir()
            entries = [_entry(folders[name], path) for path in sorted(found)]
            self._send(HTTPStatus.OK, json.dumps(entries).encode(), with_body)
        else:
            paths = sorted(path for path in folders[name].rglob("*") if path.is_file())
            siblings = [{"rfilename": path.relative_to(folders[name]).as_posix()} for path in paths]
            body = {"id": name, "sha": commit, "siblings": siblings}
            self._send(HTTPStatus.OK, json.dumps(body).encode(), with_body)

    def _answer_file(self, folders: dict[str, Path], repository: str, name: str, with_body: bool) -> None:
        path = folders[repository] / name
        if not path.is_file():
            self._send(HTTPStatus.NOT_FOUND, b"{}", with_body, {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        match = RANGE.fullmatch(self.headers.get("Range", ""))
        if match:
            first = int(match["first"])
            end = int(match["last"]) + 1 if match["last"] else len(content)
            part = content[first:end]
            headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
            self._send(HTTPStatus.PARTIAL_CONTENT, part, with_body, headers)
        else:
            self._send(HTTPStatus.OK, content, with_body, headers)

    def _send(self, status: HTTPStatus, body: bytes, with_body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _entry(root: Path, path: Path) -> dict[str, object]:
    """Describes a file or folder as the hub's listing does."""
    kind = "directory" if path.is_dir() else "file"
    size = 0 if path.is_dir() else path.stat().st_size
    return {"type": kind, "path": path.relative_to(root).as_posix(), "size": size, "oid": "0" * 40}


@contextlib.contextmanager
def running_hub(models: dict[str, Path], datasets: dict[str, Path] | None = None) -> Iterator[str]:
    """Serves folders of models and data sets by id until the block ends; yields the endpoint's address."""
    HubHandler.models = models
    HubHandler.datasets = datasets or {}
    HubHandler.asked = []
    with serving(HubHandler) as address:
        yield address


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answers with a handler until the block ends; yields the server's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
