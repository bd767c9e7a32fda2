"""Connections that are silent, slow or too many harm nobody, end in time, and leave a line in the log."""

import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service.client import Service, eventually
from tests.service.conftest import running_service
from tests.service.raw import HealthWatch, answer_of, connect, head, reads_nothing

CONNECTIONS = 200
HEADER_SECONDS = 2
GREETING = json.dumps({"text": "Good morning."}).encode()
# A request that takes seconds.
LONG = json.dumps({"text": ["The river is wide and the bridge is old. " * 40] * 64, "num_beams": 4}).encode()


def warnings(log: Path) -> list[dict[str, str]]:
    """The lines of the log about connections."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["logger"] == "slimseq.app.http.connections"]


@contextlib.contextmanager
def trickling(connections: list[socket.socket]) -> Iterator[None]:
    """Sends a byte of an endless header on each connection every tenth of a second."""
    is_over = threading.Event()

    def trickle() -> None:
        while not is_over.wait(0.1):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(b"a")

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_silent_and_trickling_connections_are_closed_and_nobody_waits_for_them(log: Path) -> None:
    with (
        running_service(log, header_timeout_seconds=HEADER_SECONDS) as service,
        ExitStack() as held,
    ):
        started = time.monotonic()
        silent = [held.enter_context(connect(service)) for _ in range(CONNECTIONS)]
        slow = [held.enter_context(connect(service)) for _ in range(CONNECTIONS)]
        for connection in slow:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        with trickling(slow), HealthWatch(service) as health:
            ends = [connection.recv(1) for connection in silent]
            answers = [answer_of(connection) for connection in slow]
        seconds = time.monotonic() - started

    assert set(ends) == {b""}
    assert {answer.status for answer in answers} == {408}
    assert "did not arrive within 2 s" in answers[0].problem.detail
    assert HEADER_SECONDS <= seconds < HEADER_SECONDS + 10
    assert health.slowest_seconds < 2
    # Each kind has one line for all connections.
    logged = [warning["message"] for warning in warnings(log)]
    assert sorted(logged) == ["headers did not arrive in time", "idle connection is closed"]


def test_silent_connections_and_requests_that_never_arrive_whole_keep_no_client_out(log: Path) -> None:
    with running_service(log, max_connections=20) as service, ExitStack() as held:
        silent = [held.enter_context(connect(service)) for _ in range(50)]
        served = [service.get("/healthz").status for _ in range(10)]
        oldest = silent[0].recv(1)
        logged = warnings(log)
        # An upload from an address with fewer connections goes on.
        other = held.enter_context(connect(service, address="127.0.0.2"))
        other.sendall(head("POST", "/translate", f"Content-Length: {len(GREETING)}") + GREETING[:1])
        for _ in range(50):
            half = held.enter_context(connect(service))
            half.sendall(head("POST", "/translate", "Content-Length: 100") + b"{")
        served += [service.get("/healthz").status for _ in range(10)]
        other.sendall(GREETING[1:])
        served.append(answer_of(other).status)

    assert served == [200] * 21
    assert oldest == b""
    assert len(logged) == 1
    assert "one of the network with most of them is closed" in logged[0]["message"]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(head("GET", "/openapi.json") * 60, id="reads nothing"),
        pytest.param(
            head("GET", "/healthz") + head("POST", "/translate", "Content-Length: 9") + b"{", id="half a second request"
        ),
    ],
)
def test_clients_that_read_nothing_and_second_requests_that_never_arrive_keep_no_client_out(
    log: Path, sent: bytes
) -> None:
    with running_service(log, max_connections=20) as service, ExitStack() as held:
        for _ in range(20):
            held.enter_context(connect(service)).sendall(sent)
        # Until the buffers between the two are full, the service works on answers. They would stall for 60 s.
        eventually(lambda: service.get("/healthz").status == 200, seconds=30)
        served = [service.get("/healthz").status for _ in range(30)]

    assert served == [200] * 30


def test_one_connection_too_many_is_refused_while_all_others_have_requests(log: Path) -> None:
    with running_service(log, max_connections=3) as service:
        with contextlib.ExitStack() as held:
            for _ in range(3):
                busy = held.enter_context(connect(service))
                busy.sendall(head("POST", "/summarize", f"Content-Length: {len(LONG)}") + LONG)
            time.sleep(0.5)
            refused = [service.get("/healthz") for _ in range(5)]
        later = eventually(lambda: service.get("/healthz"), lambda answer: answer.status == 200, 10)

    assert {answer.status for answer in refused} == {503}
    assert refused[0].problem.type == "/problems/too-many-connections"
    assert later.status == 200
    # Each limit is logged once; to be refused needs a moment, in which such a connection may be the oldest.
    assert warnings(log)[0]["message"] == "too many connections: one is rejected"
    assert warnings(log)[0]["client"] == "127.0.0.1"
    assert len(warnings(log)) <= 2


def test_a_client_that_does_not_read_its_answer_is_disconnected(log: Path) -> None:
    with running_service(log, request_timeout_seconds=2) as service:
        with connect(service) as connection:
            is_ended = reads_nothing(connection, 30)
        served = service.get("/healthz")

    assert is_ended
    assert served.status == 200
    assert "client does not read its response" in [warning["message"] for warning in warnings(log)]


def test_a_broken_second_request_does_not_cost_the_first_its_answer(service: Service) -> None:
    body = json.dumps({"text": "Good morning."}).encode()
    with connect(service) as connection:
        connection.sendall(head("POST", "/translate", f"Content-Length: {len(body)}") + body + b"\x00\x01\x02\r\n\r\n")
        first = answer_of(connection)

        assert first.status == 200
        assert first.headers["connection"] == "close"
        assert connection.recv(1) == b""


def test_connections_leave_file_descriptors_for_others_and_for_files_where_there_are_few(log: Path) -> None:
    with running_service(log, prefix=("prlimit", "--nofile=256:256")) as service, ExitStack() as held:
        for _ in range(300):
            held.enter_context(connect(service))
        started = time.monotonic()
        with connect(service, address="127.0.0.2") as other:
            other.sendall(head("POST", "/translate", f"Content-Length: {len(GREETING)}") + GREETING)
            answered = answer_of(other)
        seconds = time.monotonic() - started
        # The files of a variant need descriptors too, while all connections are open.
        loaded = service.post("/translate?variant=pruned", {"text": "Good morning."})
        limits = service.get("/info").json["limits"]

    logged = next(line for line in map(json.loads, log.read_text().splitlines()) if "setting" in line)
    assert answered.status == 200
    assert seconds < 5
    assert loaded.status == 200, loaded.text
    assert limits["max_connections"] == logged["connections"] == 128
    assert "ulimit -n" in logged["message"]
    assert logged["setting"] == 512


def test_the_limit_of_file_descriptors_is_raised_for_the_connections_of_the_setting(log: Path) -> None:
    with running_service(log, prefix=("prlimit", "--nofile=64:4096"), max_connections=1000) as service:
        limits = service.get("/info").json["limits"]
        raised = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)

    assert limits["max_connections"] == 1000
    assert raised == (1128, 4096)
