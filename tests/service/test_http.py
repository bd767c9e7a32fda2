"""HTTP at its edges: what it forbids is refused with 400, and what it allows but few clients send is answered."""

import socket

import pytest

from tests.service.client import Service
from tests.service.raw import answer_of, connect, head

BODY = b'{"text":"Hi."}'
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
# The body in one chunk of 14 (`e`) bytes.
CHUNKS = b"e\r\n" + BODY + b"\r\n0\r\n\r\n"
# Paths that answer a GET.
READABLE = [
    "/",
    "/docs",
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/metrics",
    "/variants",
    "/variants/translation/original",
    "/quality",
    "/latency",
    "/memory",
    "/info",
    "/libretranslate/languages",
    "/problems/overloaded",
    "/experiments",
    "/evaluations",
]
# Pages that browsers keep. They ask whether a page has changed.
KEPT = ("/", "/docs")
GET = b"GET /healthz HTTP/1.1\r\n"
HOST = b"Host: slimseq\r\n"


def post(*lines: str, body: bytes = BODY) -> bytes:
    return head("POST", "/translate", *lines) + body


# What each request does that HTTP/1.1 forbids. A proxy and a server may understand such a request in two ways, which
# lets a client smuggle a second one past the proxy.
FORBIDDEN = {
    "two equal lengths": post(LENGTH, LENGTH),
    "two lengths": post(LENGTH, "Content-Length: 5"),
    "a list of lengths": post("Content-Length: 14, 14"),
    "a signed length": post("Content-Length: +14"),
    "a length of 20 digits": post("Content-Length: 99999999999999999999999"),
    "a length and chunks": post(LENGTH, CHUNKED, body=CHUNKS),
    "chunks and a length": post(CHUNKED, LENGTH, body=CHUNKS),
    "an unknown encoding": post("Transfer-Encoding: xchunked", body=CHUNKS),
    "chunks within gzip": post("Transfer-Encoding: chunked, gzip", body=CHUNKS),
    "chunks and another encoding": post(CHUNKED, "Transfer-Encoding: identity", body=CHUNKS),
    "a space before the colon": post("Transfer-Encoding : chunked", body=CHUNKS),
    "a vertical tab in an encoding": post("Transfer-Encoding:\x0bchunked", body=CHUNKS),
    "a folded encoding": post("Transfer-Encoding:\r\n chunked", body=CHUNKS),
    "a length and an encoding": post(LENGTH, "Transfer-Encoding: identity"),
    "lines without carriage returns in chunks": post(CHUNKED, body=b"e\n" + BODY + b"\n0\n\n"),
    "no line break after a chunk": post(CHUNKED, body=b"e\r\n" + BODY + b"XX0\r\n\r\n"),
    "a size of a chunk with 0x": post(CHUNKED, body=b"0xe\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a size of a chunk beyond 64 bits": post(CHUNKED, body=b"ffffffffffffffffff\r\n" + BODY),
    "chunks in HTTP/1.0": b"POST /translate HTTP/1.0\r\n" + HOST + CHUNKED.encode() + b"\r\n\r\n" + CHUNKS,
    "a folded header": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "a zero byte in a header": GET + HOST + b"X: a\0b\r\n\r\n",
    "a header without a name": GET + HOST + b": a\r\n\r\n",
    "a header without a colon": GET + HOST + b"no colon\r\n\r\n",
    "a carriage return in a header": GET + b"Host: a\rX: b\r\n\r\n",
    "two keys": GET + HOST + b"Authorization: Bearer one\r\nAuthorization: Bearer two\r\n\r\n",
    "two content encodings": post(LENGTH, "Content-Encoding: identity", "Content-Encoding: gzip"),
    "two content types": post(LENGTH, "Content-Type: text/plain"),
    "no host": GET + b"Accept: */*\r\n\r\n",
    "two equal hosts": GET + HOST + b"host: slimseq\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET /healthz HTTP/1.0\r\n" + HOST + b"Host: other\r\n\r\n",
    "a path as host": GET + b"Host: a/../b\r\n\r\n",
    "a user in the host": GET + b"Host: user@a\r\n\r\n",
    "lines without carriage returns": b"GET /healthz HTTP/1.1\nHost: a\n\n",
    "a zero byte in the path": b"GET /heal\0thz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "an authority as target": b"GET slimseq:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a port beyond 65535": b"GET http://slimseq:99999/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT slimseq:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a version of HTTP/2": b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
    "a line of HTTP/0.9": b"GET /healthz\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_request_that_http_forbids_is_answered_with_400_and_what_follows_is_not_read(
    service: Service, request_bytes: bytes
) -> None:
    with connect(service) as connection:
        connection.sendall(request_bytes + GET + HOST + b"\r\n")
        refused = answer_of(connection)

        assert refused.status == 400
        assert refused.problem.type == "/problems/malformed-request"
        assert refused.headers["connection"] == "close"
        assert connection.recv(1) == b""


# Requests that few clients send, with the status of the answer.
ALLOWED = {
    "chunks": (post(CHUNKED, body=CHUNKS), 200),
    "a tab and capitals": (post("Transfer-Encoding:\tChunked", body=CHUNKS), 200),
    "an extension of a chunk": (post(CHUNKED, body=b"e;name=value\r\n" + BODY + b"\r\n0\r\n\r\n"), 200),
    "empty lines before": (b"\r\n\r\n" + GET + HOST + b"\r\n", 200),
    "an empty host": (GET + b"Host:\r\n\r\n", 200),
    "an absolute target": (head("GET", "http://slimseq/healthz"), 200),
    "a body of GET": (head("GET", "/healthz", "Content-Length: 5") + b"hello", 200),
    "a zero byte, encoded": (head("GET", "/healthz%00"), 404),
    "line breaks, encoded": (head("GET", "/%ff%0d%0aX-Evil:%201"), 404),
    "a path that begins with two slashes": (head("GET", "//slimseq/healthz"), 404),
    "a path out of the assets": (head("GET", "/assets/1/../../../etc/passwd"), 404),
    "OPTIONS of the server": (head("OPTIONS", "*"), 404),
    "TRACE": (head("TRACE", "/healthz"), 405),
    "an expectation without a body": (head("GET", "/healthz", "Expect: 100-continue"), 200),
}


@pytest.mark.parametrize(("request_bytes", "status"), ALLOWED.values(), ids=ALLOWED)
def test_a_request_that_http_allows_is_answered_and_keeps_the_connection(
    service: Service, request_bytes: bytes, status: int
) -> None:
    with connect(service) as connection:
        connection.sendall(request_bytes)
        answer = answer_of(connection)
        connection.sendall(head("GET", "/healthz"))
        again = answer_of(connection)

    assert answer.status == status
    assert again.status == 200
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
    assert refused.status == 400
    assert "without `Upgrade`" in refused.problem.detail


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
        to_head = answer_of(connection, "HEAD")
        to_get = answer_of(connection)

    assert to_head.status == to_get.status == 200
    assert to_head.headers["content-type"] == to_get.headers["content-type"]


def test_head_where_only_post_is_answered_is_refused(service: Service) -> None:
    refused = service.send("HEAD", "/translate")

    assert refused.status == 405
    assert refused.headers["allow"] == "POST"


def test_no_answer_with_a_text_may_be_cached(service: Service) -> None:
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
