"""When there are traces, and how they are named. `tests/service/test_traces.py` reads those of requests."""

import importlib.util
import os
import subprocess
import sys

import pytest

from slimseq.app.errors import DeadlineExceeded
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from tests.app.serving.generators import EchoGenerator
from tests.app.serving.working import run, submit, until

if importlib.util.find_spec("opentelemetry.sdk") is None:
    pytest.skip("needs the extra `otel`", allow_module_level=True)

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def recorded() -> tuple[InMemorySpanExporter, Traces]:
    """Returns traces, and what they are sent to."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, Traces(provider)


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
    [late] = [span for span in found if span.name == "late"]
    [waited] = [span for span in found if span.parent is not None and span.parent == late.context]
    assert waited.name == "queue" and waited.start_time and waited.end_time
    assert waited.end_time - waited.start_time >= 50_000_000


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
