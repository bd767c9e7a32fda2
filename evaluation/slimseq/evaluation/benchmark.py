"""Measures latency, throughput and memory of open artifacts, and the throughput of layouts.

Several variants are measured in turns, batch by batch, so that noise on the machine hits all of them alike.
"""

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import NamedTuple, TypeVar

import numpy as np

from slimseq.evaluation.fastest import Layout
from slimseq.evaluation.host import available_cores, cpu_flags, host_name, resident_bytes
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.measurements import Performance

Item = TypeVar("Item")


def compare(
    generators: Mapping[str, TextGenerator],
    texts: Sequence[str],
    options: Mapping[str, GenerationOptions],
    batch: int = 1,
    repeats: int = 10,
    warmup: int = 2,
    threads: int = 0,
    resident: Mapping[str, int] | None = None,
    bases: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> dict[str, Performance]:
    """Measures several open artifacts in turns; returns percentiles of a batch's milliseconds, and tokens a second.

    Each repeat generates all texts, after `warmup` untimed batches. Tokenization is not timed. Variants may end their
    texts at different lengths: to compare the time of equal work, set `min_new_tokens` to `max_new_tokens`.

    Args:
        generators: the open artifacts by name.
        texts: texts to generate from.
        options: generation options by the artifact's name.
        batch: texts in a batch. The last batch is filled up from the first texts.
        repeats: how often all texts are generated.
        warmup: number of untimed batches.
        threads: number of threads with which the generators were opened. It is only recorded; 0 records the number of
            cores that this process may use.
        resident: bytes of memory that each artifact takes. Without it, the memory of this process is recorded.
        bases: name of each artifact's base model, whose speed on the same runtime is recorded beside the artifact's.
        seconds: time after which no turn begins. Each artifact generates at least one batch.

    Raises:
        ValueError: there are no texts, or `batch` or `repeats` is below 1.
        InvalidOptions: a model cannot follow the options.
    """
    _check_counts(texts, batch, repeats)
    batches: dict[str, list[list[Encoding]]] = {}
    for name, generator in generators.items():
        generator.check(options[name])
        batches[name] = _encoded_batches(generator, texts, batch)
        for encodings in islice(cycle(batches[name]), warmup):
            generator.generate(encodings, options[name])

    timings: dict[str, list[_Timing]] = {name: [] for name in generators}
    began, cpu_began = time.perf_counter(), time.process_time()
    deadline = began + seconds if seconds is not None else math.inf
    count = math.ceil(len(texts) / batch)
    for turn in range(repeats * count):
        if turn > 0 and time.perf_counter() > deadline:
            break
        for name in _rotated(list(generators), turn):
            started = time.perf_counter()
            outputs = generators[name].generate(batches[name][turn % count], options[name])
            timings[name].append(_Timing(time.perf_counter() - started, outputs))

    resident_by_name = {name: resident_bytes() for name in generators} | dict(resident or {})
    # All measurements of one run have the same date.
    of_run = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_share": round((time.process_time() - cpu_began) / max(time.perf_counter() - began, 1e-9), 3),
    }
    found: dict[str, Performance] = {}
    for name, generator in generators.items():
        performance = _performance(
            generator.runtime.name, timings[name], options[name], batch, threads, resident_by_name[name]
        )
        found[name] = performance.model_copy(update=of_run)
    return _beside_their_bases(found, generators, bases or {})


class _Timing(NamedTuple):
    """The seconds that a batch took, and its outputs."""

    seconds: float
    outputs: list[TextOutput]


def _encoded_batches(generator: TextGenerator, texts: Sequence[str], batch: int) -> list[list[Encoding]]:
    """Returns the encoded texts in batches. The last batch is filled up from the first texts."""
    endless = cycle([generator.encode(text) for text in texts])
    count = math.ceil(len(texts) / batch)
    return [list(islice(endless, batch)) for _ in range(count)]


def _rotated(items: list[Item], turn: int) -> list[Item]:
    """Returns the items in the order of a turn. Each turn begins with another item."""
    if not items:
        return []
    first = turn % len(items)
    return items[first:] + items[:first]


def _beside_their_bases(
    found: Mapping[str, Performance], generators: Mapping[str, TextGenerator], bases: Mapping[str, str]
) -> dict[str, Performance]:
    """Adds the speed of each artifact's base model, if this run measured it on the same runtime."""
    paired = dict(found)
    for name, base_name in bases.items():
        measured, base = found.get(name), found.get(base_name)
        if measured is None or base is None or base.runtime != measured.runtime:
            continue
        digest = generators[base_name].manifest.digest
        paired[name] = measured.model_copy(
            update={"reference": digest, "reference_tokens_per_second": base.tokens_per_second}
        )
    return paired


def _check_counts(texts: Sequence[str], batch: int, repeats: int) -> None:
    if not texts or batch < 1 or repeats < 1:
        raise ValueError(f"cannot measure {repeats} repeats of {len(texts)} texts in batches of {batch}")


def _performance(
    runtime: str,
    timings: Sequence[_Timing],
    options: GenerationOptions,
    batch: int,
    threads: int,
    resident: int,
) -> Performance:
    seconds = [timing.seconds for timing in timings]
    p50, p95, p99 = np.percentile(np.array(seconds) * 1000, (50, 95, 99)).tolist()
    outputs = [output for timing in timings for output in timing.outputs]
    input_tokens = [output.input_tokens for output in outputs]
    output_tokens = [output.output_tokens for output in outputs]
    return Performance(
        host=host_name(),
        cpu_flags=cpu_flags(),
        threads=threads or available_cores(),
        runtime=runtime,
        batch=batch,
        num_beams=options.num_beams,
        input_tokens=round(float(np.mean(input_tokens))),
        output_tokens=round(float(np.mean(output_tokens))),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        tokens_per_second=sum(output_tokens) / sum(seconds),
        resident_bytes=resident,
    )


def measure_layouts(
    generators: Mapping[Layout, TextGenerator],
    texts: Sequence[str],
    options: GenerationOptions,
    batch: int,
    repeats: int = 3,
) -> dict[Layout, float]:
    """Measures several layouts of one artifact in turns; returns output tokens a second of all workers together.

    The artifact is open once for each layout. There should be enough texts for every worker to generate several batches
    of `batch` texts. Before the measurement, all texts are generated once untimed.

    Raises:
        ValueError: there are no texts, or `batch` or `repeats` is below 1.
        InvalidOptions: the model cannot follow the options.
    """
    _check_counts(texts, batch, repeats)
    tokens = dict.fromkeys(generators, 0)
    seconds = dict.fromkeys(generators, 0.0)
    for turn in range(repeats + 1):
        for layout in _rotated(list(generators), turn):
            generated_tokens, elapsed = _generate_all(generators[layout], layout.workers, texts, options, batch)
            # The first turn warms the layouts up.
            if turn > 0:
                tokens[layout] += generated_tokens
                seconds[layout] += elapsed
    return {layout: tokens[layout] / seconds[layout] for layout in generators}


def _generate_all(
    generator: TextGenerator, workers: int, texts: Sequence[str], options: GenerationOptions, batch: int
) -> tuple[int, float]:
    """Generates from all texts on several threads; returns the number of output tokens and the seconds."""
    generator.check(options)
    encodings = [generator.encode(text) for text in texts]
    # The longest texts first, so that no worker is left with a long batch at the end.
    encodings.sort(key=lambda encoding: -len(encoding.ids))
    batches = [encodings[start : start + batch] for start in range(0, len(encodings), batch)]

    def run(inputs: Sequence[Encoding]) -> int:
        return sum(output.output_tokens for output in generator.generate(inputs, options))

    with ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        tokens = sum(pool.map(run, batches))
        return tokens, time.perf_counter() - started
