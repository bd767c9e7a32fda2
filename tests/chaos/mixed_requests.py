"""The mixed requests: each kind with how it is sent, and which answers are right."""

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

# Answers after which a client asks again, and for how long.
LATER = (429, 503, 504)
PATIENCE_SECONDS = 300.0
# Requests that only read. The database has the last ones.
READING = (
    *("/variants", "/variants/translation/quantized", "/quality", "/latency", "/memory", "/info", "/"),
    *("/metrics", "/openapi.json", "/healthz", "/libretranslate/languages", "/libretranslate/frontend/settings"),
    *("/evaluations?limit=3", "/experiments?limit=3", "/evaluations?before=1"),
)
OF_DATABASE = ("/evaluations", "/experiments", "/feedback")
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
# Good requests whose answers clients judge.
JUDGED = [number for number, (_, body) in enumerate(REQUESTS[:8]) if not body.get("stream")]
# Evaluations that have not ended, at most.
WAITING_EVALUATIONS = 3
# What of a hundred requests is of each kind. The other requests are good ones.
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
    """What the clients have seen. Shared by all of their threads."""

    asked: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    responses: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, complaint: str | None) -> None:
        """Counts a request, and keeps what is wrong with its answer."""
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
        """Sends a request, and reads its one answer. `headers` are in place of those of all requests.

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


class MixedClient:
    """Sends requests that it draws, one after the other, with the key of `service`. Used by one thread.

    `expected` has the content of each good answer, `outsider` headers with a key that may generate nothing.
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
            if answer.status not in LATER or time.monotonic() > until:
                return answer
            if answer.status == 503 and "retry-after" not in answer.headers:
                return answer
            time.sleep(min(float(answer.headers.get("retry-after", 1)), 2.0))

    def _good(self, drawn: random.Random) -> str | None:
        number = drawn.randrange(len(REQUESTS))
        answer = self._patiently("POST", *REQUESTS[number])
        if number in JUDGED and answer.status == 200:
            self._seen.responses.append(answer.json["id"])
        return self._difference(number, answer)

    def _difference(self, number: int, answer: Response) -> str | None:
        found = content(answer, REQUESTS[number].body)
        if found == self._expected[number]:
            return None
        return f"{REQUESTS[number].path}: {str(found)[:300]} instead of {str(self._expected[number])[:300]}"

    def _reading(self, drawn: random.Random) -> str | None:
        path = drawn.choice(READING)
        answer = self._while_database_comes_and_goes("GET", path)
        return None if answer.status == 200 else f"{path}: {answer.status} {answer.text[:200]}"

    def _while_database_comes_and_goes(self, method: str, path: str, body: Any = None) -> Response:
        """Asks until the database is there. A refusal is right only if something was done to the database."""
        while True:
            started = time.monotonic()
            answer = self._connection.ask(method, path, body)
            is_refused = answer.status == 503 and "database-unavailable" in answer.text
            if not (is_refused and path.startswith(OF_DATABASE) and self._disturbances.harmed_database_since(started)):
                return answer
            time.sleep(0.5)

    def _wrong(self, drawn: random.Random) -> str | None:
        method, path, body, status = drawn.choice(WRONG)
        answer = self._connection.ask(method, path, body)
        is_right = answer.status in (status, 429)
        return None if is_right else f"{method} {path} {str(body)[:60]}: {answer.status}, not {status}"

    def _short_deadline(self, drawn: random.Random) -> str | None:
        number = drawn.randrange(len(REQUESTS))
        deadline = {"X-Request-Deadline-Ms": str(drawn.randint(1, 300))}
        answer = self._connection.ask("POST", *REQUESTS[number], {**self._service.headers, **deadline})
        if answer.status in (429, 504) or (answer.status == 200 and b"deadline-exceeded" in answer.body):
            return None
        return self._difference(number, answer)

    def _leaves(self, drawn: random.Random) -> None:
        """Closes the connection in the middle of the request or of the answer."""
        path, body = drawn.choice(REQUESTS)
        text = json.dumps(body)
        sent = {"Host": "slimseq", "Content-Type": "application/json", "Content-Length": len(text)}
        lines = [f"{name}: {value}" for name, value in {**sent, **self._service.headers}.items()]
        data = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", text]).encode()
        with socket.create_connection(("127.0.0.1", self._service.port), timeout=10) as connection:
            connection.sendall(data[: drawn.choice([len(data) // 2, len(data)])])
            time.sleep(drawn.random() * 0.3)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.recv(drawn.randrange(1, 400))

    def _feedback(self, drawn: random.Random) -> str | None:
        """Judges an answer that some client had before."""
        try:
            identifier = self._seen.responses.popleft()
        except IndexError:
            return None
        body = {"response": identifier, "rating": drawn.random()}
        answer = self._while_database_comes_and_goes("POST", "/feedback", body)
        # Recorded, and its answer lost, before the database went.
        return None if answer.status in (201, 409) else f"{answer.status} {answer.text[:200]}"

    def _evaluation(self, drawn: random.Random) -> str | None:
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

    def _without_key(self, drawn: random.Random) -> str | None:
        path, body = drawn.choice(REQUESTS)
        headers, status = drawn.choice([({}, 401), ({"Authorization": "Bearer wrong"}, 401), (self._outsider, 403)])
        answer = self._connection.ask("POST", path, body, headers)
        return None if answer.status == status else f"{path}: {answer.status}, not {status}"
