"""Measurements that nobody took, for tests of what is made of them."""

from typing import Any

from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import MeasuredLayout, Performance, QualityScore
from slimseq.models_store.store import Store


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


def amend(store: Store, variant: str, **changes: object) -> Manifest:
    """Changes fields of a translation artifact's manifest, and returns it."""
    manifest = store.manifest(Task.TRANSLATION, variant).model_copy(update=changes)
    store.rewrite_manifest(manifest)
    return manifest


def score(value: float, **more: Any) -> QualityScore:
    """A score of a translation on the sample."""
    fields: dict[str, Any] = {
        "dataset": "sample",
        "split": "test",
        "samples": 99,
        "metric": "bleu",
        "value": value,
        "interval": (value - 2.125, value + 2.25),
        "signature": "nrefs:1|tok:13a",
        "generation": {"num_beams": 4},
        "runtime": "torch",
        "baseline": 0.25424906031431943,
        "measured_at": "2026-11-24T20:14:42+00:00",
    }
    return QualityScore(**(fields | more))
