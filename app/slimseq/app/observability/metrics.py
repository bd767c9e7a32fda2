"""The Prometheus side: every series that the service keeps, in a registry of its own, with bounded labels."""

import platform
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from slimseq.models_store.manifest import Task

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
VARIANT = ("task", "variant")


class ServiceMetrics:
    """Counters, histograms and gauges of one application; several can live in one process."""

    def __init__(self, version: str) -> None:
        # The times at which series began double the page and answer no question.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Info("slimseq_build", "What runs here.", registry=registry)
        build.info({"version": version, "python": platform.python_version(), "machine": platform.machine()})
        self._requests = Counter(
            "slimseq_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._request_seconds = Histogram(
            "slimseq_request_duration_seconds",
            "From a request's arrival to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self._rejected = Counter(
            "slimseq_rejected", "Requests answered with a problem, by its kind.", ("reason",), registry=registry
        )
        self._queue_wait = Histogram(
            "slimseq_queue_wait_seconds",
            "What a request waited for its first row to begin.",
            VARIANT,
            buckets=SECONDS,
            registry=registry,
        )
        self._inference = Histogram(
            "slimseq_inference_duration_seconds",
            "What a request took from then on.",
            VARIANT,
            buckets=SECONDS,
            registry=registry,
        )
        self._input_tokens = Counter("slimseq_input_tokens", "Tokens read for requests.", VARIANT, registry=registry)
        self._output_tokens = Counter("slimseq_output_tokens", "Tokens made for requests.", VARIANT, registry=registry)
        self._batch_rows = Histogram(
            "slimseq_batch_rows",
            "Rows that shared a batch, or a step where they join and leave.",
            VARIANT,
            buckets=ROWS,
            registry=registry,
        )
        self._queue_rows = Gauge("slimseq_queue_rows", "Rows that wait for their turn.", VARIANT, registry=registry)
        self._loaded = Gauge("slimseq_variant_loaded", "1 while the variant is in memory.", VARIANT, registry=registry)
        self._resident = Gauge(
            "slimseq_variant_resident_bytes",
            "What loading added to the process, on all runtimes.",
            VARIANT,
            registry=registry,
        )
        self._load_seconds = Gauge(
            "slimseq_variant_load_seconds", "What verifying and opening took.", VARIANT, registry=registry
        )

        # What each variant's open copies take and where their queues are read, by runtime.
        self._open: dict[tuple[Task, str], dict[str, tuple[int, Callable[[], float]]]] = {}
        # Looking series up by their labels takes longer than counting.
        self._of_generations: dict[tuple[Task, str], tuple[Histogram, Histogram, Counter, Counter]] = {}
        self._evictions = Counter("slimseq_evictions", "Variants closed to make room for others.", registry=registry)

    def request_ended(self, method: str, route: str, status: int, seconds: float, problem: str | None) -> None:
        """Counts one answered request; `problem` is the slug of the error that it was answered with."""
        self._requests.labels(method, route, f"{status // 100}xx").inc()
        self._request_seconds.labels(route).observe(seconds)
        if problem:
            self._rejected.labels(problem).inc()

    def generation_ended(
        self, task: Task, variant: str, queue_seconds: float, inference_seconds: float, tokens: tuple[int, int]
    ) -> None:
        """Counts one request's generation; `tokens` are those read and those made."""
        key = (task, variant)
        if key not in self._of_generations:
            self._of_generations[key] = (
                self._queue_wait.labels(*key),
                self._inference.labels(*key),
                self._input_tokens.labels(*key),
                self._output_tokens.labels(*key),
            )
        queue_wait, inference, input_tokens, output_tokens = self._of_generations[key]
        queue_wait.observe(queue_seconds)
        inference.observe(inference_seconds)
        input_tokens.inc(tokens[0])
        output_tokens.inc(tokens[1])

    def rows_counter(self, task: Task, variant: str) -> Callable[[int], None]:
        """Returns what counts a variant's batches or steps: it is told the rows of each."""
        counter: Callable[[int], None] = self._batch_rows.labels(task, variant).observe
        return counter

    def variant_loaded(
        self,
        task: Task,
        variant: str,
        runtime: str,
        resident_bytes: int,
        load_seconds: float,
        queue_rows: Callable[[], float],
    ) -> None:
        """Notes a variant that a runtime has opened, whose queue is read whenever it is asked for."""
        self._open.setdefault((task, variant), {})[runtime] = (resident_bytes, queue_rows)
        self._load_seconds.labels(task, variant).set(load_seconds)
        self._show_open(task, variant)

    def variant_closed(self, task: Task, variant: str, runtime: str) -> None:
        """Notes that a variant was closed which a runtime had open; other runtimes may still have it open."""
        self._open[task, variant].pop(runtime)
        self._show_open(task, variant)

    def _show_open(self, task: Task, variant: str) -> None:
        """Sets a variant's gauges to what it takes on all runtimes together."""
        copies = self._open[task, variant]
        self._loaded.labels(task, variant).set(bool(copies))
        self._resident.labels(task, variant).set(sum(resident_bytes for resident_bytes, _ in copies.values()))
        if copies:
            self._queue_rows.labels(task, variant).set_function(
                lambda: sum(queue_rows() for _, queue_rows in list(copies.values()))
            )
        else:
            self._queue_rows.remove(task, variant)

    def variant_evicted(self) -> None:
        """Counts a variant that was closed to make room for another."""
        self._evictions.inc()

    def render(self) -> bytes:
        """Returns everything in the Prometheus text format."""
        return generate_latest(self.registry)
