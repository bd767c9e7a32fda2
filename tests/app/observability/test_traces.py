"""Traces of a real application in this process, read from OpenTelemetry's in-memory exporter."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import httpx2 as httpx
import pytest

from slimseq.app.errors import DeadlineExceeded
from slimseq.app.main import create_app
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.app.settings import Settings
from slimseq.models_store.store import Store
from tests.app.serving.generators import EchoGenerator
from tests.app.serving.working import run, submit, until

if importlib.util.find_spec("opentelemetry.sdk") is None:
    pytest.skip("needs the extra `otel`", allow_module_level=True)

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

SECRET = "The spy hides in the old harbour."
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"

Requests = Callable[[httpx.AsyncClient], Awaitable[object]]


def recorded() -> tuple[InMemorySpanExporter, Traces]:
    """Returns traces, and what they are sent to."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, Traces(provider)


@pytest.fixture
def spans(embedded: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[Requests], Sequence[ReadableSpan]]:
    """Serves requests with traces on, and returns all spans."""

    def traced(requests: Requests) -> Sequence[ReadableSpan]:
        exporter, traces = recorded()
        monkeypatch.setattr(Traces, "from_environment", lambda version: traces)
        app = create_app(Settings(store=embedded.root, runtime="auto"))

        async def run() -> None:
            async with app.router.lifespan_context(app):
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(transport=transport, base_url="http://slimseq", timeout=60) as client:
                    while (await client.get("/readyz")).status_code != 200:
                        await asyncio.sleep(0.05)
                    await requests(client)

        asyncio.run(run())
        return exporter.get_finished_spans()

    return traced


def named(spans: Sequence[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def context(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def children(spans: Sequence[ReadableSpan], parent: ReadableSpan) -> list[ReadableSpan]:
    own = [span for span in spans if span.parent is not None and span.parent.span_id == context(parent)[1]]
    return sorted(own, key=lambda span: span.start_time or 0)


def test_a_request_is_a_span_whose_phases_follow_each_other(
    spans: Callable[[Requests], Sequence[ReadableSpan]],
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "request-7"}

    found = spans(lambda client: client.post("/translate?runtime=onnxruntime", json={"text": SECRET}, headers=headers))

    [request] = named(found, "POST /translate")
    assert request.kind is SpanKind.SERVER and request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["slimseq.request_id"] == "request-7"
    assert context(request)[0] == int(TRACE, 16)
    assert request.parent is not None and request.parent.span_id == int(PARENT, 16)
    phases = children(found, request)
    assert [span.name for span in phases] == ["plan", "queue", "generate"]
    assert all(span.start_time < span.end_time for span in phases if span.start_time and span.end_time)
    for earlier, later in pairwise(phases):
        assert earlier.end_time is not None and later.start_time is not None
        # Times of the phases are converted one by one.
        assert earlier.end_time - later.start_time < 1_000_000
    assert phases[-1].attributes is not None
    assert phases[-1].attributes["slimseq.artifact"] == "translation/quantized"
    assert phases[-1].attributes["slimseq.rows"] == 1


@pytest.mark.parametrize("name", ["/translate", "/summarize"])
def test_attributes_have_no_text_of_the_user(name: str, spans: Callable[[Requests], Sequence[ReadableSpan]]) -> None:
    async def requests(client: httpx.AsyncClient) -> None:
        await client.post(f"{name}?runtime=onnxruntime", json={"text": SECRET, "stream": True})
        await client.post(f"{name}?secret=harbour", json={"text": SECRET})
        await client.post(name, json={"text": SECRET, "num_beams": SECRET})

    found = spans(requests)

    assert len(named(found, f"POST {name}")) == 3
    written = " ".join(span.to_json() for span in found)
    assert "spy" not in written and "harbour" not in written


def test_a_streamed_request_has_all_phases_and_a_refused_one_none(
    spans: Callable[[Requests], Sequence[ReadableSpan]],
) -> None:
    async def requests(client: httpx.AsyncClient) -> None:
        await client.post("/translate?runtime=onnxruntime", json={"text": SECRET, "stream": True})
        await client.post("/translate?variant=nowhere", json={"text": SECRET})

    streamed, refused = named(found := spans(requests), "POST /translate")

    assert [span.name for span in children(found, streamed)] == ["plan", "queue", "generate"]
    assert children(found, refused) == []
    assert refused.attributes is not None
    assert refused.attributes["error.type"] == "unknown-variant" and refused.status.status_code is StatusCode.UNSET


def test_a_request_that_is_given_up_in_the_queue_has_waited_only() -> None:
    exporter, traces = recorded()
    generator = EchoGenerator(is_open=False)

    async def scenario() -> None:
        batcher = StaticBatching(generator, "translation/test", WorkLimits(wait_seconds=0), traces=traces)
        running = submit(batcher, 1)
        await until(generator.has_started.is_set)
        with traces.request("late", {}), pytest.raises(DeadlineExceeded):
            await batcher.wait(submit(batcher, 2, seconds=0.05))
        generator.gate.set()
        await batcher.wait(running)
        batcher.close()

    run(scenario)

    found = exporter.get_finished_spans()
    [waited] = children(found, named(found, "late")[0])
    assert waited.name == "queue" and waited.start_time and waited.end_time
    assert waited.end_time - waited.start_time >= 50_000_000


def test_probes_are_not_traced(spans: Callable[[Requests], Sequence[ReadableSpan]]) -> None:
    async def requests(client: httpx.AsyncClient) -> None:
        for path in ("/healthz", "/readyz", "/metrics"):
            await client.get(path)

    assert spans(requests) == ()


def test_without_an_endpoint_traces_are_off_and_the_sdk_is_not_imported() -> None:
    program = (
        "import sys; from slimseq.app.main import create_app; from slimseq.app.settings import Settings; "
        "from slimseq.models_store.places import embedded_store; "
        "app = create_app(Settings(store=embedded_store())); "
        "assert app.state.services.traces is None; "
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}

    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert ran.stdout.strip() == "[]", ran.stderr


def test_an_endpoint_without_the_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    assert Traces.from_environment("0") is None
    assert "[otel]'" in caplog.text


@pytest.mark.parametrize(
    ("environment", "name"), [({}, "slimseq"), ({"OTEL_SERVICE_NAME": "translator"}, "translator")]
)
def test_the_service_has_the_name_of_the_environment(
    environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    for variable, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **environment}.items():
        monkeypatch.setenv(variable, value)

    traces = Traces.from_environment("7")

    assert traces is not None
    traces.close()
    with traces.request("GET", {}):
        span = traces.current()
    assert isinstance(span, ReadableSpan)
    assert (span.resource.attributes["service.name"], span.resource.attributes["service.version"]) == (name, "7")


def test_the_sdk_can_be_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    assert Traces.from_environment("0") is None
