"""Traces as the service sends them: the real exporter, and a collector that keeps what it gets."""

import importlib.util
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.service.conftest import free_port, running_service

if importlib.util.find_spec("opentelemetry.exporter") is None:
    pytest.skip("needs the extra `otel`", allow_module_level=True)

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TEXT = {"text": "The spy hides in the old harbour."}


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """Paths and bodies of what a collector got, whose address is in the environment."""
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield got
        server.shutdown()


def test_a_collector_gets_the_spans_of_a_request_at_the_latest_when_the_service_stops(
    log: Path, collected: list[tuple[str, bytes]]
) -> None:
    with running_service(log) as service:
        answer = service.post("/translate?runtime=onnxruntime", TEXT)

    sent = [ExportTraceServiceRequest.FromString(body) for _, body in collected]
    spans = [
        span for each in sent for resource in each.resource_spans for of in resource.scope_spans for span in of.spans
    ]
    assert answer.status == 200
    assert {path for path, _ in collected} == {"/v1/traces"}
    assert {span.name for span in spans} >= {"POST /translate", "plan", "queue", "generate"}
    assert b"harbour" not in b"".join(body for _, body in collected)
    names = {
        attribute.value.string_value
        for each in sent
        for resource in each.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    assert names == {"slimseq"}


def test_a_collector_that_is_away_delays_neither_answers_nor_the_end(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    with running_service(log) as service:
        answers = [service.post("/translate", TEXT).status for _ in range(3)]
        stopped = time.monotonic()

    assert answers == [200, 200, 200]
    assert time.monotonic() - stopped < 10
