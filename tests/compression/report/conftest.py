"""A small store with everything in it that a report shows: real artifacts, with measurements written into them."""

from pathlib import Path
from typing import Any, Literal

import pytest

from slimseq.compression.artifacts.publish import Identity, derived, publish_model
from slimseq.models_store.manifest import Check, Manifest, Step, Task, Verdict
from slimseq.models_store.measurements import MeanAgreement, Performance
from slimseq.models_store.store import Store
from tests import measured
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_model
from tests.families import Family
from tests.measured import amend, score


def performance(tokens_per_second: float, **changes: object) -> Performance:
    laptop = {"host": "a laptop", "threads": 2, "runtime": "torch", "num_beams": 4, "resident_bytes": 61_400_000}
    timing = {"input_tokens": 14, "output_tokens": 12, "p50_ms": 12_000 / tokens_per_second}
    return measured.performance(tokens_per_second, **(laptop | timing | changes))


def derive(store: Store, parent: Manifest, name: str, width: int, step: Step) -> Manifest:
    identity: Identity = derived(parent, name, f"Made by {step.technique}.", step)
    folder = store.folder(Task.TRANSLATION, "original")
    return publish_model(store, tiny_model(Family.T5, folder, feed_forward=width), folder, identity)


def make_store(folder: Path) -> Store:
    """Makes the store `store` in a folder."""
    context = tiny_context(folder)
    original = tiny_artifact(context, Family.T5)
    pruning = Step(technique="prune", parent=original.digest, parameters={"feed_forward": 32})
    pruned = derive(context.store, original, "pruned", 32, pruning)
    quantizing = Step(technique="quantize", parent=pruned.digest)
    # The report reads the step and the sizes. So the artifact need not be quantized, and a smaller one will do.
    derive(context.store, pruned, "compact", 16, quantizing)
    measure_original(context.store)
    measure_pruned(context.store)
    measure_compact(context.store)
    return context.store


def measure_original(store: Store) -> None:
    """Writes the measurements of the original, with which the variants are compared: it keeps 100 % of its quality."""
    whole: dict[str, Any] = {"retention": 1.0, "retention_interval": (1.0, 1.0)}
    quality = [
        # Two scores have all digits of a measurement, to test how a report rounds.
        score(37.68394325779598, **whole),
        score(63.07516880198326, metric="chrf", **whole),
        score(30.5, dataset="tatoeba", samples=2000, **whole),
    ]
    speeds = [performance(602.25), performance(1318.5, batch=8)]
    amend(store, "original", quality=quality, performance=speeds)


def measure_pruned(store: Store) -> None:
    """Writes the measurements of a variant that has passed the gate, at twice the speed of the original."""
    agreement = MeanAgreement(exact=0.75, similarity=0.9375, interval=(0.875, 0.96875), metric="chrf")
    on_sample = {"retention": 0.9685, "retention_interval": (0.9475, 0.9905), "p_value": 0.0123}
    on_tatoeba = {"retention": 0.959, "retention_interval": (0.95, 0.97)}
    quality = [
        score(36.5, agreement=agreement, **on_sample),
        score(29.25, dataset="tatoeba", samples=2000, **on_tatoeba),
    ]
    speeds = [performance(1204.5, resident_bytes=41_500_000), performance(2637.0, batch=8)]
    amend(store, "pruned", quality=quality, performance=speeds, gate=verdict("passed", 0.9685))


def measure_compact(store: Store) -> None:
    """Writes the measurements of a variant that the gate has rejected, at four times the speed of the original."""
    quality = [score(35.0, retention=0.9288, retention_interval=(0.9, 0.95), p_value=0.0001)]
    speeds = [performance(2409.0, resident_bytes=21_500_000)]
    amend(store, "compact", quality=quality, performance=speeds, gate=verdict("rejected", 0.9288))


def verdict(status: Literal["passed", "rejected"], value: float) -> Verdict:
    check = Check(name="retention of bleu on sample", value=value, limit=0.95, is_passed=status == "passed")
    return Verdict(status=status, checks=[check])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)
