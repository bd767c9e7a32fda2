"""When there are traces, and how they are named. `tests/service/test_traces.py` reads those of requests."""

import importlib.util
import os
import subprocess
import sys

import pytest

from slimseq.app.observability.traces import Traces

if importlib.util.find_spec("opentelemetry.sdk") is None:
    pytest.skip("needs the extra `otel`", allow_module_level=True)

from opentelemetry.sdk.trace import ReadableSpan


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
