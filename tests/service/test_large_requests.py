"""What is too large is refused while it arrives: no memory is spent on it, nobody waits for it."""

import itertools
import json
from pathlib import Path

import psutil
import pytest

from slimseq.app.settings import Settings
from tests.service.client import Service
from tests.service.conftest import running_service
from tests.service.raw import CHUNK, HealthWatch, answer_of, chunked, connect, head, send_until_refused

pytestmark = pytest.mark.usefixtures("goes_on")
MEGABYTE = 1024**2
# Limit for what a client can send before the connection is closed. After its answer the service reads up to 16 MiB, so
# that the client sees the answer and no reset. The buffers of both kernels hold some more.
MOST_SENT = 64 * MEGABYTE
JSON = {"Content-Type": "application/json"}
# Limit for other requests beside a large one, on a busy machine. Without limits of bodies they took 7 to 29 s.
SLOW_SECONDS = 2.0


def test_bodies_of_too_many_values_are_refused_before_memory_is_spent(log: Path) -> None:
    bodies = {
        "/evaluations": b'{"task":"translation","variants":["original"],"pairs":[' + b"1," * (2 * MEGABYTE) + b"1]}",
        "/translate": json.dumps({"text": "Hi."} | {f"key{number}": number for number in range(400_000)}).encode(),
        "/summarize": b'{"text":[' + b'"a",' * MEGABYTE + b'"a"]}',
        "/compare?task=translation&variant=original&variant=quantized": b'{"a":[' + b"{}," * MEGABYTE + b"{}]}",
    }
    with running_service(log) as service:
        process = psutil.Process(service.pid)
        before = peak_bytes(process)
        with HealthWatch(service) as health:
            answers = [service.send("POST", path, body, JSON) for path, body in bodies.items()]
        spent = peak_bytes(process) - before

    for refused in answers:
        assert refused.status == 422
        assert refused.problem.type == "/problems/body-too-complex"
        assert f"{Settings().max_values} commas, colons and opening brackets" in refused.problem.detail
    assert spent < 64 * MEGABYTE
    assert health.slowest_seconds < SLOW_SECONDS


def peak_bytes(process: psutil.Process) -> int:
    """The most memory that a process ever had, as Linux counts it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_the_rest_of_a_body_of_too_many_values_is_not_read(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(head("POST", "/translate", "Transfer-Encoding: chunked"))
        body = itertools.chain([b'{"text":['], itertools.repeat(b'"a",' * (CHUNK // 4)))
        send_until_refused(connection, chunked(body), MOST_SENT)
        refused = answer_of(connection)

    assert refused.status == 422
    assert refused.headers["connection"] == "close"


def test_a_body_that_is_nested_too_deeply_is_refused_before_its_end(service: Service) -> None:
    with connect(service) as connection:
        # The rest of the declared length never comes.
        connection.sendall(head("POST", "/translate", "Content-Length: 1000000") + b'{"text":' + b"[" * 100)
        refused = answer_of(connection)

    assert refused.status == 422
    assert "nested too deeply" in refused.problem.detail


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        # A body is read to its limit.
        ("POST", "/translate", 413),
        ("POST", "/healthz", 413),
        ("PUT", "/translate", 413),
        # A body means nothing here, so the request is answered without it.
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("OPTIONS", "/translate", 405),
        ("DELETE", "/evaluations/nope", 404),
    ],
)
def test_after_the_answer_to_an_endless_body_nothing_more_is_read(
    service: Service, method: str, path: str, status: int
) -> None:
    with connect(service) as connection:
        connection.sendall(head(method, path, "Transfer-Encoding: chunked"))
        text = itertools.chain([b'{"text":"'], itertools.repeat(b"a" * CHUNK))
        send_until_refused(connection, chunked(text), MOST_SENT)
        answer = answer_of(connection, method)

    assert answer.status == status
    assert answer.headers["connection"] == "close"


def test_a_request_whose_body_arrived_keeps_its_connection_whatever_the_answer(service: Service) -> None:
    body = b'{"text":5}'
    with connect(service) as connection:
        connection.sendall(head("POST", "/translate", f"Content-Length: {len(body)}") + body)
        refused = answer_of(connection)
        connection.sendall(head("GET", "/healthz", "Content-Length: 2") + b"{}")
        served = answer_of(connection)
        connection.sendall(head("GET", "/healthz"))
        again = answer_of(connection)

    assert (refused.status, served.status, again.status) == (422, 200, 200)
    assert "connection" not in refused.headers | served.headers | again.headers


@pytest.mark.parametrize(
    ("start", "status"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nX-Large: ", 431, id="header"),
        pytest.param(b"GET /healthz?", 431, id="query"),
        pytest.param(head("POST", "/translate", "Transfer-Encoding: chunked") + b"0\r\nX-Large: ", 431, id="trailer"),
        # The first answer is that to the first request, which is whole.
        pytest.param(head("GET", "/healthz") + b"GET /healthz HTTP/1.1\r\nX-Large: ", 200, id="second request"),
    ],
)
def test_headers_without_end_are_refused_and_nobody_waits(service: Service, start: bytes, status: int) -> None:
    with HealthWatch(service) as health, connect(service) as connection:
        endless = itertools.chain([start], itertools.repeat(b"a" * CHUNK, 200 * MEGABYTE // CHUNK))
        send_until_refused(connection, endless, MOST_SENT)
        first = answer_of(connection)

    assert first.status == status
    assert health.slowest_seconds < SLOW_SECONDS


def test_headers_that_are_too_large_are_a_problem(service: Service) -> None:
    # The limit of all headers is 32 KiB.
    refused = service.get("/healthz", {"X-Large": "a" * 33_000})
    served = service.get("/healthz", {"X-Large": "a" * 31_000})

    assert refused.status == 431
    assert refused.problem.type == "/problems/headers-too-large"
    assert "32768 bytes" in refused.problem.detail
    assert refused.problem.request_id == refused.headers["x-request-id"]
    assert served.status == 200


@pytest.mark.parametrize("text", ["\\u4e00", "a\\n", "ä"], ids=["escapes", "lines", "utf8"])
def test_the_largest_text_is_read_while_others_are_served(service: Service, text: str) -> None:
    body = b'{"text":"Hi.","prefix":"' + (text * 1_000_000).encode() + b'"}'
    with HealthWatch(service) as health:
        # The prefix is too long, so that the request is read and refused, and nothing is generated.
        refused = [service.send("POST", "/summarize", body, JSON) for _ in range(5)]

    assert {answer.status for answer in refused} == {422}
    assert "prefix" in refused[0].problem.detail
    assert health.slowest_seconds < 1
