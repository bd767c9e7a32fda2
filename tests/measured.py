"""Measurements that nobody took, for tests of what is made of them."""

from typing import Any

from models_store.manifest import Performance


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
