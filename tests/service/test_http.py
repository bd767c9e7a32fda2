"""Requests that HTTP allows and few clients send, and those that it forbids, such as requests smuggled past a proxy."""

import socket

import pytest

from tests.service.client import Service
from tests.service.raw import answer_of, connect, head

BODY = b'{"text":"Hi."}'
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b"e\r\n" + BODY + b"\r\n0\r\n\r\n"
READABLE = [
    *("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/variants", "/variants/translation/original"),
    *(
        "/quality",
        "/latency",
        "/memory",
        "/info",
        "/libretranslate/languages",
        "/problems/overloaded",
        "/experiments",
        "/evaluations",
    ),
]
# A page's files, which browsers keep and ask about.
KEPT = ("/", "/docs")
GET = b"GET /healthz HTTP/1.1\r\n"
HOST = b"Host: slimseq\r\n"


def post(*lines: str, body: bytes = BODY) -> bytes:
    return head("POST", "/translate", *lines) + body


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(LENGTH, LENGTH),
        post(LENGTH, "Content-Length: 5"),
        post("Content-Length: 14, 14"),
        post("Content-Length: +14"),
        post("Content-Length: 99999999999999999999999"),
        post(LENGTH, CHUNKED, body=CHUNKS),
        post(CHUNKED, LENGTH, body=CHUNKS),
        post("Transfer-Encoding: xchunked", body=CHUNKS),
        post("Transfer-Encoding: chunked, gzip", body=CHUNKS),
        post(CHUNKED, "Transfer-Encoding: identity", body=CHUNKS),
        post("Transfer-Encoding : chunked", body=CHUNKS),
        post("Transfer-Encoding:\x0bchunked", body=CHUNKS),
        post("Transfer-Encoding:\r\n chunked", body=CHUNKS),
        post(LENGTH, "Transfer-Encoding: identity"),
        post(CHUNKED, body=b"e\n" + BODY + b"\n0\n\n"),
        post(CHUNKED, body=b"e\r\n" + BODY + b"XX0\r\n\r\n"),
        post(CHUNKED, body=b"0xe\r\n" + BODY + b"\r\n0\r\n\r\n"),
        post(CHUNKED, body=b"ffffffffffffffffff\r\n" + BODY),
        b"POST /translate HTTP/1.0\r\n" + HOST + CHUNKED.encode() + b"\r\n\r\n" + CHUNKS,
        GET + HOST + b"X: a\r\n b\r\n\r\n",
        GET + HOST + b"X: a\0b\r\n\r\n",
        GET + HOST + b": a\r\n\r\n",
        GET + HOST + b"no colon\r\n\r\n",
        GET + b"Host: a\rX: b\r\n\r\n",
        GET + HOST + b"Authorization: Bearer one\r\nAuthorization: Bearer two\r\n\r\n",
        post(LENGTH, "Content-Encoding: identity", "Content-Encoding: gzip"),
        post(LENGTH, "Content-Type: text/plain"),
        GET + b"Accept: */*\r\n\r\n",
        GET + HOST + b"host: slimseq\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n" + HOST + b"Host: other\r\n\r\n",
        GET + b"Host: a/../b\r\n\r\n",
        GET + b"Host: user@a\r\n\r\n",
        b"GET /healthz HTTP/1.1\nHost: a\n\n",
        b"GET /heal\0thz HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET slimseq:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://slimseq:99999/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT slimseq:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
        b"GET /healthz\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_http_forbids_is_answered_with_400_and_what_follows_is_not_read(
    service: Service, request_bytes: bytes
) -> None:
    with connect(service) as connection:
        connection.sendall(request_bytes + GET + HOST + b"\r\n")
        refused = answer_of(connection)

        assert refused.status == 400 and refused.problem.type == "/problems/malformed-request"
        assert refused.headers["connection"] == "close"
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(CHUNKED, body=CHUNKS), 200),
        (post("Transfer-Encoding:\tChunked", body=CHUNKS), 200),
        (post(CHUNKED, body=b"e;name=value\r\n" + BODY + b"\r\n0\r\n\r\n"), 200),
        (b"\r\n\r\n" + GET + HOST + b"\r\n", 200),
        (GET + b"Host:\r\n\r\n", 200),
        (head("GET", "http://slimseq/healthz"), 200),
        (head("GET", "/healthz", "Content-Length: 5") + b"hello", 200),
        (head("GET", "/healthz%00"), 404),
        (head("GET", "/%ff%0d%0aX-Evil:%201"), 404),
        (head("GET", "//slimseq/healthz"), 404),
        (head("GET", "/assets/1/../../../etc/passwd"), 404),
        (head("OPTIONS", "*"), 404),
        (head("TRACE", "/healthz"), 405),
        (head("GET", "/healthz", "Expect: 100-continue"), 200),
    ],
)
def test_what_http_allows_is_answered_and_keeps_the_connection(
    service: Service, request_bytes: bytes, status: int
) -> None:
    with connect(service) as connection:
        connection.sendall(request_bytes)
        answer = answer_of(connection)
        connection.sendall(head("GET", "/healthz"))
        again = answer_of(connection)

    assert answer.status == status and again.status == 200
    assert "x-evil" not in answer.headers


def test_a_client_that_sends_no_more_gets_its_answer(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(post(LENGTH))
        connection.shutdown(socket.SHUT_WR)

        assert answer_of(connection).status == 200
        assert connection.recv(1) == b""


def test_a_client_that_expects_100_continue_is_told_to_send_its_body(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(post(LENGTH, "Expect: 100-continue", body=b""))
        interim = connection.recv(1024)
        connection.sendall(BODY)
        answer = answer_of(connection)

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.status == 200


def test_a_client_that_expects_100_continue_sends_no_body_that_would_be_refused(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(post("Content-Length: 999999999", "Expect: 100-continue", body=b""))

        assert answer_of(connection).status == 413


def test_a_client_of_http_1_0_gets_no_interim_answer(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(post(LENGTH, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))

        assert answer_of(connection).status == 200


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    ],
    ids=["HTTP/2", "WebSocket"],
)
def test_a_request_that_would_upgrade_is_answered_as_one_that_would_not(
    service: Service, lines: tuple[str, ...]
) -> None:
    with connect(service) as connection:
        connection.sendall(head("GET", "/healthz", *lines) * 2 + head("GET", "/healthz"))
        answers = [answer_of(connection) for _ in range(3)]
        connection.sendall(post(LENGTH, *lines))
        refused = answer_of(connection)

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert refused.status == 400 and "without `Upgrade`" in refused.problem.detail


def test_an_upgrade_that_closes_its_connection_closes_it(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(head("GET", "/healthz", "Connection: Upgrade, close", "Upgrade: h2c"))

        assert answer_of(connection).headers["connection"] == "close"
        assert connection.recv(1) == b""


def test_trailers_are_no_headers(service: Service) -> None:
    with connect(service) as connection:
        trailers = b"X-Request-Priority: wrong\r\nX-Request-ID: forged\r\nHost: other\r\n"
        connection.sendall(post(CHUNKED, body=CHUNKS[:-2] + trailers + b"\r\n"))
        answer = answer_of(connection)

    assert answer.status == 200
    assert answer.headers["x-request-id"] != "forged"


@pytest.mark.parametrize("path", READABLE)
def test_head_is_answered_wherever_get_is_and_without_a_body(service: Service, path: str) -> None:
    with connect(service) as connection:
        connection.sendall(head("HEAD", path) + head("GET", path))
        first, second = answer_of(connection, "HEAD"), answer_of(connection)

    assert first.status == second.status == 200
    assert first.headers["content-type"] == second.headers["content-type"]


def test_head_where_only_post_is_answered_is_refused(service: Service) -> None:
    refused = service.send("HEAD", "/translate")

    assert refused.status == 405 and refused.headers["allow"] == "POST"


def test_no_answer_with_a_text_is_kept_on_the_way(service: Service) -> None:
    texts = {"text": "Good morning."}
    answers = [
        service.post("/translate", texts),
        service.post("/translate", {**texts, "stream": True}),
        service.post("/compare?task=translation&variant=original&variant=quantized", texts),
        service.post("/translate", {"text": ""}),
        service.post("/huggingface/translate", {"inputs": "Good morning."}),
        service.post("/libretranslate/translate", {"q": "Good morning.", "source": "en", "target": "de"}),
        service.post("/libretranslate/detect", {"q": "Good morning."}),
        *(service.get(path) for path in READABLE if path not in KEPT),
    ]

    assert {answer.headers.get("cache-control") for answer in answers} == {"no-store"}
