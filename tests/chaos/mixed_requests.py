"""Clients of the storm. Each draws requests of several kinds, sends them, and judges the answers.

A kind is a method of `MixedClient`, which returns what is wrong with the answer (a complaint), or None.
"""

import contextlib
import http.client
import json
import random
import select
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.disturbances import Disturbances
from tests.chaos.good import REQUESTS, content
from tests.service.client import TIMEOUT_SECONDS, Response, Service

# Statuses after which a client asks again, and for how long it does.
RETRY_STATUSES = (429, 503, 504)
PATIENCE_SECONDS = 300.0
# Paths that are only read. The last ones need the database.
READING = (
    *("/variants", "/variants/translation/quantized", "/quality", "/latency", "/memory", "/info", "/"),
    *("/metrics", "/openapi.json", "/healthz", "/libretranslate/languages", "/libretranslate/frontend/settings"),
    *("/evaluations?limit=3", "/experiments?limit=3", "/evaluations?before=1"),
)
# Beginnings of the paths that need the database.
DATABASE_PATHS = ("/evaluations", "/experiments", "/feedback")
# Requests that are wrong, and the status of their answer.
WRONG: tuple[tuple[str, str, Any, int], ...] = (
    ("POST", "/translate", {"text": ""}, 422),
    ("POST", "/translate", {"text": "Hi.", "temperature": 1e-320, "do_sample": True}, 422),
    ("POST", "/translate", {"text": "Hi.", "temperature": 1e-300, "do_sample": True, "top_p": 0.9}, 422),
    ("POST", "/translate", {"text": "Hi.", "repetition_penalty": 1e-38}, 422),
    ("POST", "/translate?variant=compact", {"text": "Hi.", "do_sample": True, "top_k": 5000}, 422),
    ("POST", "/translate?variant=nope", {"text": "Hi."}, 404),
    ("POST", "/translate?variant=original&variant=compact", {"text": "Hi."}, 422),
    ("POST", "/summarize", {"text": ["Yes."] * 65}, 422),
    ("POST", "/summarize", {"text": "\ud800"}, 422),
    ("POST", "/compare?task=translation&variant=original", {"text": "Hi."}, 422),
    ("POST", "/feedback", {"rating": 0.5}, 422),
    ("POST", "/evaluations", {"task": "translation", "variants": ["nope"], "dataset": "sample"}, 404),
    ("POST", "/feedback", {"response": "an id", "rating": "0.5"}, 422),
    ("GET", "/variants/translation/../../etc", None, 404),
    ("GET", "/nothing", None, 404),
    ("DELETE", "/translate", None, 405),
)
EVALUATION = {
    "task": "translation",
    "variants": ["quantized"],
    "pairs": [
        {"source": "Good morning.", "target": "Guten Morgen."},
        {"source": "It is raining.", "target": "Es regnet."},
    ],
}
# Numbers of the good requests whose answers clients rate.
RATED = [number for number, (_, body) in enumerate(REQUESTS[:8]) if not body.get("stream")]
# At most so many evaluations wait or run at once.
WAITING_EVALUATIONS = 3
# Per cent of the requests that are of each kind. All others are good ones.
SHARES = {
    "reading": 14,
    "wrong": 8,
    "short deadline": 6,
    "client leaves": 5,
    "feedback": 4,
    "evaluation": 2,
    "no key": 2,
}


@dataclass
class Seen:
    """What the clients have seen. Their threads share it.

    Args:
        asked: the number of requests of each kind.
        evaluations: ids of the evaluations that were posted.
        responses: ids of recent answers, to be rated.
    """

    asked: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    responses: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, complaint: str | None) -> None:
        """Counts a request, and keeps the complaint about its answer."""
        with self.lock:
            self.asked[kind] += 1
            if complaint is not None:
                self.complaints.append(f"{kind}: {complaint}")


class ExtraAnswer(AssertionError):
    """Raised when a connection has bytes that nobody asked for, or an answer to another request."""


class KeptConnection:
    """One connection to the service, opened again after the service has closed it. Used by one thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Response:
        """Sends a request, and reads its one answer. `headers` replace those of the service's client.

        Raises:
            ExtraAnswer: the answer is to another request, or there was more than one to the request before.
            OSError, http.client.HTTPException: there was no answer.
        """
        request_id = uuid.uuid4().hex
        data = None if body is None else json.dumps(body).encode()
        sent = {"X-Request-ID": request_id, **(self._service.headers if headers is None else headers)}
        if data is not None:
            sent["Content-Type"] = "application/json"
        connection = self._open()
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.headers.items()}
            response = Response(answer.status, named, answer.read())
        except BaseException:
            self.close()
            raise
        answered_id = response.headers.get("x-request-id")
        if answered_id != request_id:
            raise ExtraAnswer(f"{method} {path}: the answer is that of request {answered_id}")
        return response

    def close(self) -> None:
        """Closes the connection. The next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> http.client.HTTPConnection:
        """Returns the connection, a new one if the service has closed it."""
        if self._connection is not None and self._connection.sock is not None:
            # An open connection has nothing to read before a request. A closed one reads as empty.
            readable, _, _ = select.select([self._connection.sock], [], [], 0)
            if not readable:
                return self._connection
            if extra := self._connection.sock.recv(200):
                raise ExtraAnswer(f"bytes that nobody asked for: {extra!r}")
        self.close()
        self._connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=TIMEOUT_SECONDS)
        return self._connection


class MixedClient:
    """Sends requests that it draws, one after the other, with the key of `service`. Used by one thread.

    Args:
        expected: the content of the answer to each good request.
        outsider: headers with a key that may not generate.
    """

    def __init__(
        self,
        service: Service,
        expected: dict[int, Any],
        seen: Seen,
        disturbances: Disturbances,
        outsider: dict[str, str],
        seed: int,
    ) -> None:
        self._random = random.Random(seed)
        self._service = service
        self._expected = expected
        self._seen = seen
        self._disturbances = disturbances
        self._outsider = outsider
        self._connection = KeptConnection(service)
        self._kinds: dict[str, Callable[[random.Random], str | None]] = {
            "good": self._good,
            "reading": self._reading,
            "wrong": self._wrong,
            "short deadline": self._short_deadline,
            "client leaves": self._leaves,
            "feedback": self._feedback,
            "evaluation": self._evaluation,
            "no key": self._without_key,
        }

    def send(self) -> None:
        """Draws a request, sends it, and records what is wrong with the answer."""
        [kind] = self._random.choices([*SHARES, "good"], [*SHARES.values(), 100 - sum(SHARES.values())])
        try:
            complaint = self._kinds[kind](self._random)
        except (OSError, http.client.HTTPException, ExtraAnswer) as error:
            complaint = f"{type(error).__name__}: {error}"
        self._seen.add(kind, complaint)

    def close(self) -> None:
        self._connection.close()

    def _patiently(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Response:
        """Asks again while the service asks for it, as good clients do."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self._connection.ask(method, path, body, headers)
            if answer.status not in RETRY_STATUSES or time.monotonic() > until:
                return answer
            if answer.status == 503 and "retry-after" not in answer.headers:
                return answer
            time.sleep(min(float(answer.headers.get("retry-after", 1)), 2.0))

    def _good(self, rng: random.Random) -> str | None:
        number = rng.randrange(len(REQUESTS))
        answer = self._patiently("POST", *REQUESTS[number])
        if number in RATED and answer.status == 200:
            self._seen.responses.append(answer.json["id"])
        return self._difference(number, answer)

    def _difference(self, number: int, answer: Response) -> str | None:
        """Says how the answer to a good request differs from that of a quiet service, or None."""
        found = content(answer, REQUESTS[number].body)
        if found == self._expected[number]:
            return None
        return f"{REQUESTS[number].path}: {str(found)[:300]} instead of {str(self._expected[number])[:300]}"

    def _reading(self, rng: random.Random) -> str | None:
        path = rng.choice(READING)
        answer = self._while_database_comes_and_goes("GET", path)
        return None if answer.status == 200 else f"{path}: {answer.status} {answer.text[:200]}"

    def _while_database_comes_and_goes(self, method: str, path: str, body: Any = None) -> Response:
        """Asks until the database is there. A refusal is right only if something was done to the database."""
        while True:
            started = time.monotonic()
            answer = self._connection.ask(method, path, body)
            is_refused = answer.status == 503 and "database-unavailable" in answer.text
            if not is_refused or not path.startswith(DATABASE_PATHS):
                return answer
            if not self._disturbances.harmed_database_since(started):
                return answer
            time.sleep(0.5)

    def _wrong(self, rng: random.Random) -> str | None:
        method, path, body, status = rng.choice(WRONG)
        answer = self._connection.ask(method, path, body)
        # A busy service may refuse any request.
        is_right = answer.status in (status, 429)
        return None if is_right else f"{method} {path} {str(body)[:60]}: {answer.status}, not {status}"

    def _short_deadline(self, rng: random.Random) -> str | None:
        number = rng.randrange(len(REQUESTS))
        deadline = {"X-Request-Deadline-Ms": str(rng.randint(1, 300))}
        answer = self._connection.ask("POST", *REQUESTS[number], {**self._service.headers, **deadline})
        # Streams and comparisons say within their answer that the deadline was exceeded.
        is_late = answer.status == 200 and b"deadline-exceeded" in answer.body
        if is_late or answer.status in (429, 504):
            return None
        return self._difference(number, answer)

    def _leaves(self, rng: random.Random) -> None:
        """Closes the connection in the middle of the request or of the answer."""
        path, body = rng.choice(REQUESTS)
        text = json.dumps(body)
        sent = {"Host": "slimseq", "Content-Type": "application/json", "Content-Length": len(text)}
        lines = [f"{name}: {value}" for name, value in {**sent, **self._service.headers}.items()]
        data = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", text]).encode()
        with socket.create_connection(("127.0.0.1", self._service.port), timeout=10) as connection:
            connection.sendall(data[: rng.choice([len(data) // 2, len(data)])])
            time.sleep(rng.random() * 0.3)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.recv(rng.randrange(1, 400))

    def _feedback(self, rng: random.Random) -> str | None:
        """Rates an answer that some client had before."""
        try:
            identifier = self._seen.responses.popleft()
        except IndexError:
            return None
        body = {"response": identifier, "rating": rng.random()}
        answer = self._while_database_comes_and_goes("POST", "/feedback", body)
        # 409: the rating was recorded before the database was taken away, and the answer that said so was lost.
        return None if answer.status in (201, 409) else f"{answer.status} {answer.text[:200]}"

    def _evaluation(self, rng: random.Random) -> str | None:
        """Posts an evaluation, unless many wait already."""
        newest = self._while_database_comes_and_goes("GET", f"/evaluations?limit={WAITING_EVALUATIONS}").json
        waiting = [each for each in newest["evaluations"] if each["status"] in ("queued", "running")]
        if len(waiting) == WAITING_EVALUATIONS:
            return None
        answer = self._while_database_comes_and_goes("POST", "/evaluations", EVALUATION)
        if answer.status != 202:
            return None if answer.status == 429 else f"{answer.status} {answer.text[:200]}"
        with self._seen.lock:
            self._seen.evaluations.append(answer.json["id"])
        return None

    def _without_key(self, rng: random.Random) -> str | None:
        path, body = rng.choice(REQUESTS)
        headers, status = rng.choice([({}, 401), ({"Authorization": "Bearer wrong"}, 401), (self._outsider, 403)])
        answer = self._connection.ask("POST", path, body, headers)
        return None if answer.status == status else f"{path}: {answer.status}, not {status}"
