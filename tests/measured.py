"""Makes up measurements (speed, layouts, quality scores), for tests of code that reads measurements."""

from typing import Any

from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import MeasuredLayout, Performance, QualityScore
from slimseq.models_store.store import Store


def performance(tokens_per_second: float, **more: Any) -> Performance:
    """A measurement of speed. Its other numbers are 1, and mean nothing, if they are not given."""
    counts = ("threads", "batch", "input_tokens", "output_tokens", "p50_ms", "p95_ms", "p99_ms", "resident_bytes")
    fields: dict[str, Any] = {"host": "", "runtime": "onnxruntime", **dict.fromkeys(counts, 1)}
    return Performance(tokens_per_second=tokens_per_second, **(fields | more))


def measured_layout(workers: int, threads: int, tokens_per_second: float, **more: Any) -> MeasuredLayout:
    """A measurement of a layout (engines and threads of each). The machine has two cores if nothing else is given."""
    fields: dict[str, Any] = {"host": "", "cores": 2, "runtime": "onnxruntime", "batch": 16}
    return MeasuredLayout(workers=workers, threads=threads, tokens_per_second=tokens_per_second, **(fields | more))


def amend(store: Store, variant: str, **changes: object) -> Manifest:
    """Changes fields of a translation artifact's manifest, and returns it."""
    manifest = store.manifest(Task.TRANSLATION, variant).model_copy(update=changes)
    store.rewrite_manifest(manifest)
    return manifest


def score(value: float, **more: Any) -> QualityScore:
    """A BLEU score of a translator on the bundled sample. Its interval is close around the value."""
    fields: dict[str, Any] = {"dataset": "sample", "split": "test", "samples": 99, "metric": "bleu", "runtime": "torch"}
    fields |= {"signature": "nrefs:1|tok:13a", "generation": {"num_beams": 4}, "baseline": 0.25424906031431943}
    fields |= {"interval": (value - 2.125, value + 2.25), "measured_at": "2026-11-24T20:14:42+00:00"}
    return QualityScore(value=value, **(fields | more))
