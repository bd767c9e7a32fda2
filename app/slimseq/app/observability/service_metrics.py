"""What the service measures of itself: metrics for Prometheus with bounded labels, and the latencies of a window."""

import contextlib
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple, get_args

import numpy
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    Summary,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest
from pydantic import BaseModel, Field

from slimseq.app.observability.live_agreement import LiveAgreement, OfflineAgreement
from slimseq.inference.text.warnings import WARNING_KINDS
from slimseq.models_store.manifest import Task

# Upper bounds of histogram buckets, in seconds.
TOKEN_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# Name, help and buckets of the durations of a request, in the order of `generation_ended`. The last one is known only
# if the runtime shows its steps.
DURATIONS = (
    ("slimseq_queue_wait_seconds", "Time of a request in the queue, until generation started.", SECONDS),
    ("slimseq_inference_duration_seconds", "Time of a request from the start of generation to its end.", SECONDS),
    ("slimseq_generation_duration_seconds", "Time of a request from its arrival to its answer.", SECONDS),
    ("slimseq_time_to_first_token_seconds", "Time of a request in the queue and to its first token.", SECONDS),
    ("slimseq_time_per_output_token_seconds", "Time for each token after a request's first one.", TOKEN_SECONDS),
)
# Maximum number of latencies that are kept of each variant.
MAX_KEPT = 20_000
# Upper bounds of histogram buckets, in rows.
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
VARIANT = ("task", "variant")
# Why a request is not shadowed. `busy`: earlier ones are not finished. `too_long`: it has more characters than are
# shadowed. `memory`: the reference does not fit the memory budget. `failed`: the reference did not answer.
DropReason = Literal["busy", "too_long", "memory", "failed"]
AGREEMENT_GAUGES = {
    "mean": "Mean similarity of live outputs to those of the variant that answers again, between 0 and 1.",
    "lower": "Lower bound of the always-valid 95 % interval of the mean.",
    "upper": "Upper bound of the always-valid 95 % interval of the mean.",
    "exact": "Share of live outputs that are equal to those of the variant that answers again.",
    "outputs": "Number of live outputs that were compared.",
    "recorded_mean": "Mean similarity that the manifest records.",
    "recorded_lower": "Lower bound of the 95 % interval that the manifest records.",
}


class ServiceMetrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self, version: str, memory_budget_bytes: int = 0, problems: Iterable[str] = ()) -> None:
        """Makes the metrics. `problems` are the slugs of all problem types."""
        # The creation times of series would double the size of the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("slimseq_build", "Version of the service, Python and machine.", registry=registry).info(
            {"version": version, "python": platform.python_version(), "machine": platform.machine()}
        )
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        seconds = partial(Histogram, buckets=SECONDS, registry=registry)
        self._requests = counter("slimseq_requests", "Number of answered requests.", ("method", "route", "status"))
        help_ = "Time from the arrival of a request to the end of its response."
        self._request_seconds = seconds("slimseq_request_duration_seconds", help_, ("route",))
        help_ = "Number of requests answered with a problem, by problem type."
        self._rejected = counter("slimseq_rejected", help_, ("reason",))
        # Prometheus sees no increase in a counter that appears with its first value.
        for slug in problems:
            self._rejected.labels(slug)
        self._durations = [
            Histogram(name, help_, VARIANT, buckets=buckets, registry=registry) for name, help_, buckets in DURATIONS
        ]
        self._tokens = [
            counter(f"slimseq_{kind}_tokens", f"Number of {kind} tokens.", VARIANT) for kind in ("input", "output")
        ]
        help_ = "Number of outputs with a warning, by kind."
        self._warnings = counter("slimseq_warnings", help_, (*VARIANT, "kind"))
        help_ = "Number of outputs whose warning a further try has removed, by its kind."
        self._repairs = counter("slimseq_repairs", help_, (*VARIANT, "kind"))
        help_ = "Number of rows in a batch, or in a step with continuous batching."
        self._batch_rows = Histogram("slimseq_batch_rows", help_, VARIANT, buckets=ROWS, registry=registry)
        help_ = "Number of tokens of an output of greedy search over the steps of the decoder that it took."
        self._accepted = Summary("slimseq_accepted_tokens_per_step", help_, VARIANT, registry=registry)
        self._queue_rows = gauge("slimseq_queue_rows", "Number of rows in the queue.", VARIANT)
        self._loaded = gauge("slimseq_variant_loaded", "1 while the variant is loaded.", VARIANT)
        help_ = "Measured memory of the loaded variant, on all runtimes."
        self._resident = gauge("slimseq_variant_resident_bytes", help_, VARIANT)
        self._load_seconds = gauge("slimseq_variant_load_seconds", "Time to verify and load the variant.", VARIANT)
        help_ = "1 while the last attempt to verify and load the variant failed."
        self.load_failed = gauge("slimseq_variant_load_failed", help_, VARIANT)
        help_ = "Memory budget for loaded variants. 0 means no limit."
        gauge("slimseq_memory_budget_bytes", help_).set(memory_budget_bytes)
        self.evictions = counter("slimseq_evictions", "Number of variants unloaded to free memory for others.")
        help_ = "Number of requests that another variant, usually the reference, answered again."
        self.shadows = counter("slimseq_shadows", help_, VARIANT)
        help_ = "Number of requests that were to be shadowed and were not, by reason."
        self._dropped_shadows = counter("slimseq_shadows_dropped", help_, ("reason",))
        for reason in get_args(DropReason):
            self._dropped_shadows.labels(reason)
        self._agreement = {
            name: gauge(f"slimseq_agreement_{name}", help_, VARIANT) for name, help_ in AGREEMENT_GAUGES.items()
        }
        help_ = "Number of responses of an arm of an experiment."
        self._arm_responses = counter("slimseq_experiment_responses", help_, VARIANT)
        help_ = "Number of requests that an arm of an experiment failed to answer."
        self._arm_failures = counter("slimseq_experiment_failures", help_, VARIANT)
        self.ratings = Summary("slimseq_ratings", "Ratings of responses, between 0 and 1.", VARIANT, registry=registry)
        help_ = "Number of comparisons in which the variant was preferred."
        self.votes = counter("slimseq_votes", help_, VARIANT)

        # By variant and runtime: resident bytes, and the function that reads the queue.
        self._open: dict[tuple[Task, str], dict[str, tuple[int, Callable[[], float]]]] = {}
        # Metrics by their labels, since prometheus_client's own lookup takes longer than an increment. Metrics of
        # requests: by method, route and status. Metrics of generations, and of kinds of warnings (warnings, repairs):
        # by task and variant.
        self._of_requests: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._of_generations: dict[tuple[Task, str], tuple[list[Histogram], list[Counter]]] = {}
        self._of_kinds: dict[tuple[Task, str], tuple[dict[str, Counter], dict[str, Counter]]] = {}

    def request_ended(self, method: str, route: str, status: int, seconds: float, problem: str | None) -> None:
        """Counts an answered request. `problem` is the slug of its problem type, if it failed."""
        key = (method, route, f"{status // 100}xx")
        if key not in self._of_requests:
            self._of_requests[key] = (self._requests.labels(*key), self._request_seconds.labels(route))
        count, duration = self._of_requests[key]
        count.inc()
        duration.observe(seconds)
        if problem:
            self._rejected.labels(problem).inc()

    def generation_ended(
        self, task: Task, variant: str, durations: Sequence[float | None], tokens: tuple[int, int]
    ) -> None:
        """Counts the generation of a request: its `DURATIONS`, as far as known, and its input and output tokens."""
        key = (task, variant)
        if key not in self._of_generations:
            histograms = [each.labels(*key) for each in self._durations]
            self._of_generations[key] = (histograms, [each.labels(*key) for each in self._tokens])
        histograms, counters = self._of_generations[key]
        for histogram, seconds in zip(histograms, durations, strict=True):
            if seconds is not None:
                histogram.observe(seconds)
        for counter, count in zip(counters, tokens, strict=True):
            counter.inc(count)

    def checked(self, task: Task, variant: str, warned: Iterable[str], repaired: Iterable[str]) -> None:
        """Counts warnings and repairs of an answer. The first answer begins all series, even without any warning."""
        key = (task, variant)
        if key not in self._of_kinds:
            self._of_kinds[key] = (
                {kind: self._warnings.labels(*key, kind) for kind in WARNING_KINDS},
                {kind: self._repairs.labels(*key, kind) for kind in WARNING_KINDS},
            )
        warnings, repairs = self._of_kinds[key]
        for kind in warned:
            warnings[kind].inc()
        for kind in repaired:
            repairs[kind].inc()

    def row_counters(self, task: Task, variant: str) -> tuple[Callable[[float], None], Callable[[float], None]]:
        """Returns two functions: one counts the rows of a batch or step, one the mean tokens of an output's steps."""
        return self._batch_rows.labels(task, variant).observe, self._accepted.labels(task, variant).observe

    def variant_loaded(
        self,
        task: Task,
        variant: str,
        runtime: str,
        resident_bytes: int,
        load_seconds: float,
        queue_rows: Callable[[], float],
    ) -> None:
        """Records that a runtime loaded a variant. `queue_rows` is called when metrics are read."""
        self._open.setdefault((task, variant), {})[runtime] = (resident_bytes, queue_rows)
        self._load_seconds.labels(task, variant).set(load_seconds)
        self.load_failed.labels(task, variant).set(0)
        self._show_open(task, variant)

    def variant_closed(self, task: Task, variant: str, runtime: str) -> None:
        """Records that a variant was unloaded from a runtime. It may still be loaded on others."""
        self._open[task, variant].pop(runtime)
        self._show_open(task, variant)

    def _show_open(self, task: Task, variant: str) -> None:
        """Sets the gauges of a variant to the sum over its runtimes."""
        copies = self._open[task, variant]
        self._loaded.labels(task, variant).set(bool(copies))
        self._resident.labels(task, variant).set(sum(resident_bytes for resident_bytes, _ in copies.values()))
        # 0 after the variant was unloaded: `copies` is then empty.
        self._queue_rows.labels(task, variant).set_function(
            lambda: sum(queue_rows() for _, queue_rows in list(copies.values()))
        )

    def shadow_dropped(self, reason: DropReason) -> None:
        self._dropped_shadows.labels(reason).inc()

    def agreement_changed(
        self, task: Task, variant: str, live: LiveAgreement, recorded: OfflineAgreement | None
    ) -> None:
        """Shows the agreement of a variant on live requests, beside what its manifest records."""
        values = {
            "mean": live.similarity,
            "lower": live.interval[0],
            "upper": live.interval[1],
            "exact": live.exact,
            "outputs": live.outputs,
        }
        if recorded is not None:
            values |= {"recorded_mean": recorded.similarity, "recorded_lower": recorded.interval[0]}
        for name, gauge in self._agreement.items():
            if name in values:
                gauge.labels(task, variant).set(values[name])
            else:
                with contextlib.suppress(KeyError):
                    gauge.remove(task, variant)

    def arm_ended(self, task: Task, variant: str, *, has_failed: bool = False) -> None:
        # Makes both series, because Prometheus sees no increase in a counter that appears with its first value.
        responses = self._arm_responses.labels(task, variant)
        failures = self._arm_failures.labels(task, variant)
        if has_failed:
            failures.inc()
        else:
            responses.inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)


# Of responses that say something else at each replica of a cluster.
ReplicaName = Annotated[
    str | None, Field(description="The replica of a cluster that answered. None on a single machine.")
]


class Percentiles(BaseModel):
    """Percentiles of one phase, in milliseconds."""

    p50: float
    p95: float
    p99: float


class VariantLatency(BaseModel):
    """Latency of the requests of one variant."""

    task: Task
    variant: str
    count: int = Field(description="Requests in the window.")
    queue_ms: Percentiles = Field(description="Time in the queue, until generation started.")
    inference_ms: Percentiles = Field(description="Time from the start of generation to its end.")
    total_ms: Percentiles = Field(description="Total time, including variant selection, loading and tokenization.")


class LatencyReport(BaseModel):
    """Latency of successful requests in the sliding window."""

    replica: ReplicaName
    window_seconds: float
    latencies: list[VariantLatency] = Field(description="One entry for each variant with requests in the window.")


class _Measurement(NamedTuple):
    """The durations of one request in milliseconds: in the queue, of inference, and in total. `at` is its end."""

    at: float
    phases_ms: tuple[float, float, float]


class LatencyWindow:
    """The measurements of the last `seconds`, at most `MAX_KEPT` for each variant. Used from the event loop."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic, replica: str | None = None) -> None:
        self._seconds = seconds
        self._clock = clock
        self._replica = replica
        self._measured: dict[tuple[Task, str], deque[_Measurement]] = {}

    def record(self, task: Task, variant: str, queue_ms: float, inference_ms: float, total_ms: float) -> None:
        measured = self._measured.setdefault((task, variant), deque(maxlen=MAX_KEPT))
        measured.append(_Measurement(self._clock(), (queue_ms, inference_ms, total_ms)))

    def report(self, task: Task | None = None, variant: str | None = None) -> LatencyReport:
        since = self._clock() - self._seconds
        latencies = []
        for (measured_task, measured_variant), measured in sorted(self._measured.items()):
            while measured and measured[0].at < since:
                measured.popleft()
            is_requested = task in (None, measured_task) and variant in (None, measured_variant)
            if measured and is_requested:
                latencies.append(_latency(measured_task, measured_variant, [each.phases_ms for each in measured]))
        return LatencyReport(replica=self._replica, window_seconds=self._seconds, latencies=latencies)


def _latency(task: Task, variant: str, measured: list[tuple[float, float, float]]) -> VariantLatency:
    # One row for each percentile, one column for each phase.
    table = numpy.percentile(numpy.asarray(measured), [50, 95, 99], axis=0).round(3)
    queue, inference, total = (Percentiles(p50=column[0], p95=column[1], p99=column[2]) for column in table.T.tolist())
    return VariantLatency(
        task=task, variant=variant, count=len(measured), queue_ms=queue, inference_ms=inference, total_ms=total
    )
