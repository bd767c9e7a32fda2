"""Measurements that nobody took, for tests of what is made of them."""

from typing import Any

from slimseq.models_store.measurements import MeasuredLayout, Performance


def performance(tokens_per_second: float, **more: Any) -> Performance:
    """A measurement of which only the speed, and what is given, means anything."""
    fields: dict[str, Any] = {
        "host": "",
        "threads": 1,
        "runtime": "onnxruntime",
        "batch": 1,
        "input_tokens": 1,
        "output_tokens": 1,
        "p50_ms": 1,
        "p95_ms": 1,
        "p99_ms": 1,
        "tokens_per_second": tokens_per_second,
        "resident_bytes": 1,
    }
    return Performance(**(fields | more))


def measured_layout(workers: int, threads: int, tokens_per_second: float, **more: Any) -> MeasuredLayout:
    """A measurement of a layout, of a machine with two cores where nothing else is given."""
    fields: dict[str, Any] = {
        "host": "",
        "cores": 2,
        "runtime": "onnxruntime",
        "workers": workers,
        "threads": threads,
        "batch": 16,
        "tokens_per_second": tokens_per_second,
    }
    return MeasuredLayout(**(fields | more))
