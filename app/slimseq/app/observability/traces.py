"""OpenTelemetry traces: on if an endpoint is set in the standard environment and the extra `otel` is installed.

A request is one span with children `plan`, `queue` and `generate`. Attributes are names and numbers, never a text of a
user. Without traces OpenTelemetry's SDK is not imported; its API is installed with FastAPI.
docs/decisions/015-traces.md says why FastAPI's own spans are off.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Self

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, StatusCode, TracerProvider
from opentelemetry.util.types import AttributeValue

from slimseq.models_store.places import pip_install

# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SpanAttributes = Mapping[str, AttributeValue]
# Time to send the last spans at a shutdown. A collector that does not answer must not delay the shutdown.
CLOSE_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Traces:
    """Makes the spans of one service, on any thread. `close` sends the last ones of the provider."""

    def __init__(self, provider: TracerProvider, close: Callable[[], None] = lambda: None) -> None:
        self._tracer = provider.get_tracer("slimseq")
        self._close = close

    @classmethod
    def from_environment(cls, version: str) -> Self | None:
        """Returns traces that are sent to the endpoint of the environment, None if they are off.

        The other `OTEL_*` variables count as well: the sampler, headers, the name of the service, limits and times.
        """
        is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        if is_disabled or not any(map(os.environ.get, ENDPOINTS)):
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider as SdkProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            logger.warning("an OTLP endpoint is set, but traces are off: %s", pip_install("otel"))
            return None
        resource = Resource.create({"service.version": version})
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "slimseq"}))
        provider = SdkProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider, provider.shutdown)

    @contextlib.contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Makes the span of a request, in the trace that its headers name (W3C `traceparent`), until the block ends."""
        span = self._tracer.start_span(
            method,
            propagate.extract(headers),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": method},
        )
        # The text of an exception may be a text of the user.
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield span

    @staticmethod
    def answered(span: Span, method: str, route: str, status: int, problem: str | None, request_id: str) -> None:
        """Names the span of a request and adds its outcome, with the names of OpenTelemetry's conventions for HTTP."""
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.route": route, "http.response.status_code": status})
        span.set_attribute("slimseq.request_id", request_id)
        if problem:
            span.set_attribute("error.type", problem)
        if status >= 500:
            span.set_status(StatusCode.ERROR)

    def current(self) -> Span | None:
        """Returns the span of the request that this task answers, None if it is not recorded."""
        span = trace.get_current_span()
        return span if span.is_recording() else None

    def planned(self, artifact: str, started: float, rows: int) -> None:
        """Adds the planning of a prompt, which ends now, to the current request."""
        if span := self.current():
            self._child(span, "plan", started, time.monotonic(), {"slimseq.artifact": artifact, "slimseq.rows": rows})

    def generated(self, arrival: float, begun: float | None, ended: float | None, attributes: SpanAttributes) -> None:
        """Adds the phases of a generation, which is over, to the current request. Times are of `time.monotonic()`.

        `begun` is that of its first row, None if none started; `ended` that of its last, None if it was given up now.
        Those `attributes` that are not our own, but of OpenTelemetry's conventions, are about the generation.
        """
        if span := self.current():
            own = {name: value for name, value in attributes.items() if name.startswith("slimseq.")}
            ended = ended or time.monotonic()
            self._child(span, "queue", arrival, begun or ended, own)
            if begun is not None:
                self._child(span, "generate", begun, ended, attributes)

    def close(self) -> None:
        sending = threading.Thread(target=self._close, name="traces", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)

    def _child(self, parent: Span, name: str, started: float, ended: float, attributes: SpanAttributes) -> None:
        """Adds a span from and to times of `time.monotonic()`."""
        context = trace.set_span_in_context(parent)
        span = self._tracer.start_span(name, context, attributes=dict(attributes), start_time=_since_epoch(started))
        span.end(_since_epoch(ended))


def _since_epoch(moment: float) -> int:
    """Converts a time of `time.monotonic()`, in seconds, to nanoseconds since the epoch."""
    return time.time_ns() - round((time.monotonic() - moment) * 1e9)
