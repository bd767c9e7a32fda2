"""A client that asks on one connection again and again, and sees an answer that belongs to no request of its own."""

import http.client
import json
import select
from collections.abc import Callable
from typing import Any

from tests.service.client import TIMEOUT_SECONDS, Response, Service


class ExtraAnswer(AssertionError):
    """Raised when a connection has bytes that nobody asked for, or an answer to another request."""


class KeptConnection:
    """One connection to the service, opened again after the service has closed it. Used by one thread."""

    def __init__(self, service: Service, new_id: Callable[[], str]) -> None:
        self._service = service
        self._new_id = new_id
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Response:
        """Sends a request, and reads its one answer. `headers` are in place of those of all requests.

        Raises:
            ExtraAnswer: the answer is to another request, or there was more than one to the request before.
            OSError, http.client.HTTPException: there was no answer.
        """
        request_id = self._new_id()
        data = None if body is None else json.dumps(body).encode()
        sent = {"X-Request-ID": request_id, **(self._service.headers if headers is None else headers)}
        if data is not None:
            sent["Content-Type"] = "application/json"
        connection = self._open()
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.headers.items()}
            found = Response(answer.status, named, answer.read())
        except BaseException:
            self.close()
            raise
        if found.headers.get("x-request-id") != request_id:
            raise ExtraAnswer(f"{method} {path}: the answer is that of request {found.headers.get('x-request-id')}")
        return found

    def close(self) -> None:
        """Closes the connection. The next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> http.client.HTTPConnection:
        """Returns the connection, a new one if the service has closed it."""
        if self._connection is not None and self._connection.sock is not None:
            readable, _, _ = select.select([self._connection.sock], [], [], 0)
            if not readable:
                return self._connection
            if extra := self._connection.sock.recv(200):
                raise ExtraAnswer(f"bytes that nobody asked for: {extra!r}")
        self.close()
        self._connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=TIMEOUT_SECONDS)
        return self._connection
