"""OpenTelemetry traces: the service sends them with the real exporter, and a collector in this process keeps them."""

import importlib.util
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.hub import Quiet, serving
from tests.service.conftest import free_port, running_service

if importlib.util.find_spec("opentelemetry.exporter") is None:
    pytest.skip("needs the extra `otel`", allow_module_level=True)

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TEXT = {"text": "The spy hides in the old harbour."}
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
ON_ONNX = "/translate?runtime=onnxruntime"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """Runs a collector whose address is in the environment. Yields the path and body of each request that it gets."""
    got: list[tuple[str, bytes]] = []

    class Collector(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    with serving(Collector) as address:
        monkeypatch.setenv(ENDPOINT, address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield got


def attributes(of: Any) -> dict[str, Any]:
    """The attributes of a span or a resource. An array becomes a list of its strings."""
    found: dict[str, Any] = {}
    for each in of.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        found[each.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


def phases(spans: list[Span], request: Span) -> list[Span]:
    """The spans within that of a request, in their order."""
    own = [span for span in spans if span.parent_span_id == request.span_id]
    return sorted(own, key=lambda span: span.start_time_unix_nano)


def test_a_collector_gets_each_request_with_its_phases_and_none_of_its_text(
    log: Path, collected: list[tuple[str, bytes]]
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "request-7"}
    with running_service(log) as service:
        answers = [
            service.post(ON_ONNX, TEXT, headers),
            service.post(ON_ONNX, {**TEXT, "stream": True}),
            service.post("/translate?variant=nowhere", TEXT),
            service.post("/summarize?secret=harbour", TEXT),
            service.post("/translate", {**TEXT, "num_beams": "spy"}),
        ]
        for probe in ("/healthz", "/readyz", "/metrics"):
            service.get(probe)

    sent = [ExportTraceServiceRequest.FromString(body) for _, body in collected]
    resources = [resource for each in sent for resource in each.resource_spans]
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    requests = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    by_id = {attributes(span)["slimseq.request_id"]: span for span in requests}
    plain, streamed, refused, *_ = [by_id[answer.headers["x-request-id"]] for answer in answers]

    assert {path for path, _ in collected} == {"/v1/traces"}
    assert {attributes(each.resource)["service.name"] for each in resources} == {"slimseq"}
    assert sorted(span.name for span in requests) == ["POST /summarize"] + ["POST /translate"] * 4
    assert not [body for _, body in collected if b"harbour" in body or b"spy" in body]

    assert attributes(plain)["slimseq.request_id"] == "request-7"
    assert attributes(plain)["http.response.status_code"] == 200
    assert (plain.trace_id.hex(), plain.parent_span_id.hex()) == (TRACE, PARENT)
    for request, answer in ((plain, answers[0].json), (streamed, answers[1].events[-1][1])):
        found = phases(spans, request)
        generated = {key: value for key, value in attributes(found[-1]).items() if key.startswith("gen_ai.")}
        assert generated == {
            "gen_ai.operation.name": "translation",
            "gen_ai.provider.name": "slimseq",
            "gen_ai.request.model": "translation/quantized",
            "gen_ai.request.max_tokens": generated["gen_ai.request.max_tokens"],
            "gen_ai.request.choice.count": 1,
            "gen_ai.request.stream": request is streamed,
            "gen_ai.response.model": "translation/quantized",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": answer["outputs"][0]["input_tokens"],
            "gen_ai.usage.output_tokens": answer["outputs"][0]["output_tokens"],
        }
        assert generated["gen_ai.request.max_tokens"] > 0
        assert "gen_ai" not in str(found[:-1])
        assert [span.name for span in found] == ["plan", "queue", "generate"]
        assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in found)
        for earlier, later in pairwise(found):
            # Each time is rounded by itself, so two phases may overlap by less than a millisecond.
            assert earlier.end_time_unix_nano - later.start_time_unix_nano < 1_000_000
        assert attributes(found[-1])["slimseq.artifact"] == "translation/quantized"
        assert attributes(found[-1])["slimseq.rows"] == 1
    assert phases(spans, refused) == []
    assert attributes(refused)["error.type"] == "unknown-variant"
    assert refused.status.code == Status.STATUS_CODE_UNSET


def test_a_collector_that_is_away_delays_neither_answers_nor_the_end(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    with running_service(log) as service:
        answers = [service.post("/translate", TEXT).status for _ in range(3)]
        stopped = time.monotonic()

    assert answers == [200, 200, 200]
    assert time.monotonic() - stopped < 10
