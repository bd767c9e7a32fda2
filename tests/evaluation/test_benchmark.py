"""The measurement of latency and throughput, with a runtime that takes a known time."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from slimseq.evaluation.benchmark import compare, measure_layouts
from slimseq.evaluation.fastest import Layout
from slimseq.evaluation.host import available_cores, cpu_flags, host_name, resident_bytes
from slimseq.inference.generator import TextGenerator
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.measurements import Performance
from tests.evaluation.conftest import EchoRuntime

OPTIONS = GenerationOptions(max_new_tokens=8)
Open = Callable[[EchoRuntime], TextGenerator]


class SlowRuntime(EchoRuntime):
    """Takes a known time a batch, and tells a shared list that it was called."""

    def __init__(self, seconds: float, name: str, calls: list[str]) -> None:
        super().__init__()
        self.name = name
        self._seconds = seconds
        self._calls = calls

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        self._calls.append(self.name)
        time.sleep(self._seconds)
        return super().generate(rows, options, watch)


def measure(generator: TextGenerator, texts: Sequence[str], options: GenerationOptions, **more: Any) -> Performance:
    return compare({"": generator}, texts, {"": options}, **more)[""]


def test_latency_is_that_of_a_batch_and_tokens_are_counted(open_echo: Open) -> None:
    generator = open_echo(SlowRuntime(0.01, "slow", []))

    performance = measure(generator, ["good morning", "good"], OPTIONS, batch=2, repeats=5, warmup=0, threads=3)

    assert 10 <= performance.p50_ms <= performance.p95_ms <= performance.p99_ms
    # Each text's ids are the prefix, its words and the end: 4 and 3.
    assert performance.tokens_per_second == pytest.approx(7 / 0.01, rel=0.5)
    assert (performance.input_tokens, performance.output_tokens) == (4, 4)
    assert (performance.batch, performance.num_beams, performance.threads, performance.runtime) == (2, 1, 3, "slow")


def test_the_machine_is_named_and_its_memory_measured(open_echo: Open, runtime: EchoRuntime) -> None:
    performance = measure(open_echo(runtime), ["good"], OPTIONS, repeats=1)

    assert (performance.host, performance.cpu_flags, performance.threads) == (
        host_name(),
        cpu_flags(),
        available_cores(),
    )
    assert performance.resident_bytes == pytest.approx(resident_bytes(), rel=0.1)


def test_every_batch_is_full_and_warm_up_is_not_counted(open_echo: Open, runtime: EchoRuntime) -> None:
    measure(open_echo(runtime), ["good", "morning", "guten"], OPTIONS, batch=2, repeats=3, warmup=1)

    assert [len(rows) for rows in runtime.batches] == [2] * 7
    assert runtime.batches[2][1] == runtime.batches[1][0]


def test_variants_take_turns(open_echo: Open) -> None:
    calls: list[str] = []
    generators = {name: open_echo(SlowRuntime(0.0, name, calls)) for name in ("a", "b")}

    measured = compare(
        generators, ["good"], dict.fromkeys(generators, OPTIONS), repeats=4, warmup=0, resident={"a": 10}
    )

    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert measured["a"].resident_bytes == 10 < measured["b"].resident_bytes


def test_a_slower_variant_is_seen_to_be_slower(open_echo: Open) -> None:
    generators = {
        name: open_echo(SlowRuntime(seconds, name, [])) for name, seconds in (("fast", 0.001), ("slow", 0.02))
    }

    measured = compare(generators, ["good"], dict.fromkeys(generators, OPTIONS), repeats=3)

    assert measured["slow"].p50_ms > 20
    assert measured["slow"].p50_ms > 2 * measured["fast"].p50_ms
    assert measured["slow"].tokens_per_second < measured["fast"].tokens_per_second / 2


def test_the_speed_of_the_base_model_stands_beside_that_of_the_others_on_its_runtime_with_one_date(
    open_echo: Open,
) -> None:
    runtimes = {"original": "a", "small": "a", "other": "b"}
    generators = {name: open_echo(SlowRuntime(0.002, runtime, [])) for name, runtime in runtimes.items()}
    bases = dict.fromkeys((*generators, "absent"), "original")

    found = compare(generators, ["good"], dict.fromkeys(generators, OPTIONS), repeats=2, warmup=0, bases=bases)

    original, small, other = found.values()
    assert small.reference == generators["original"].manifest.digest
    assert original.reference == generators["original"].manifest.digest
    assert small.reference_tokens_per_second == original.reference_tokens_per_second
    assert original.tokens_per_second == original.reference_tokens_per_second
    assert (other.reference, other.reference_tokens_per_second) == (None, None)
    assert len({each.measured_at for each in found.values()}) == 1


def test_with_a_limit_of_time_each_has_one_batch_and_no_turn_begins_later(open_echo: Open) -> None:
    calls: list[str] = []
    generators = {name: open_echo(SlowRuntime(0.02, name, calls)) for name in ("a", "b")}

    compare(generators, ["good"] * 50, dict.fromkeys(generators, OPTIONS), repeats=9, warmup=0, seconds=0.0)

    assert calls == ["a", "b"]


def test_a_run_that_waits_for_the_cores_is_rough(open_echo: Open, runtime: EchoRuntime) -> None:
    waiting = measure(open_echo(SlowRuntime(0.02, "waits", [])), ["good"], OPTIONS, repeats=5, warmup=0)

    assert waiting.cpu_share is not None
    assert waiting.cpu_share < 0.5
    assert waiting.is_rough
    assert not waiting.model_copy(update={"cpu_share": 0.97}).is_rough
    assert not waiting.model_copy(update={"cpu_share": None}).is_rough


@pytest.mark.parametrize(("texts", "batch", "repeats"), [([], 1, 1), (["good"], 0, 1), (["good"], 1, 0)])
def test_a_measurement_of_nothing_is_refused(
    open_echo: Open, runtime: EchoRuntime, texts: list[str], batch: int, repeats: int
) -> None:
    with pytest.raises(ValueError, match="cannot measure"):
        measure(open_echo(runtime), texts, OPTIONS, batch=batch, repeats=repeats)
    with pytest.raises(ValueError, match="cannot measure"):
        measure_layouts({Layout(1, 1): open_echo(runtime)}, texts, OPTIONS, batch, repeats)
