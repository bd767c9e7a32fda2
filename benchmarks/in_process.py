"""What the runtime does without a service around it: tokens a second at its best batch, and one request's time."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from benchmarks.figures import percentile_ms
from benchmarks.workload import Ask
from models_store.generator import TextGenerator

BATCHES = (1, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class InProcess:
    """What an open artifact does in this process.

    Args:
        runtime: what runs it.
        batch: texts in the batches that gave most.
        tokens_per_second: with such batches.
        single_p50_ms: median of one request's time, tokenization included.
    """

    runtime: str
    batch: int
    tokens_per_second: float
    single_p50_ms: float


def in_process(
    generator: TextGenerator, asks: Sequence[Ask], single: Ask, seconds: float, batches: Sequence[int] = BATCHES
) -> InProcess:
    """Measures an open artifact; tokenization counts, as it does in a service.

    Args:
        generator: the artifact.
        asks: whose texts make up the batches, those of equal settings together.
        single: the request that is timed alone.
        seconds: how long all of it takes, at least; every size of batch is run once whatever it takes.
        batches: sizes to try.
    """
    share = seconds / (len(batches) + 1)
    found = {size: _tokens_per_second(generator, asks, size, share) for size in batches}
    best = max(found, key=lambda size: found[size])
    return InProcess(generator.runtime.name, best, found[best], single_p50_ms(generator, single, share))


def single_p50_ms(generator: TextGenerator, ask: Ask, seconds: float) -> float:
    """Returns the median milliseconds of one request, asked again and again for so long."""
    _generate(generator, [ask])
    durations: list[float] = []
    ends = time.perf_counter() + seconds
    while not durations or time.perf_counter() < ends:
        started = time.perf_counter()
        _generate(generator, [ask])
        durations.append(time.perf_counter() - started)
    median = percentile_ms(durations, 50)
    assert median is not None
    return median


def _tokens_per_second(generator: TextGenerator, asks: Sequence[Ask], size: int, seconds: float) -> float:
    turns = [_batches(kind, size) for kind in _by_options(asks)]
    for turn in turns:
        _generate(generator, next(turn))
    tokens, started = 0, time.perf_counter()
    while True:
        # A whole round, so that each kind has its share of texts.
        tokens += sum(_generate(generator, next(turn)) for turn in turns)
        taken = time.perf_counter() - started
        if taken >= seconds:
            return tokens / taken


def _by_options(asks: Sequence[Ask]) -> list[list[Ask]]:
    groups: dict[str, list[Ask]] = {}
    for ask in asks:
        groups.setdefault(ask.options.model_dump_json(), []).append(ask)
    return list(groups.values())


def _batches(asks: Sequence[Ask], size: int) -> Iterator[list[Ask]]:
    endless = cycle(asks)
    while True:
        yield list(islice(endless, size))


def _generate(generator: TextGenerator, asks: Sequence[Ask]) -> int:
    outputs = generator.generate([generator.encode(ask.text) for ask in asks], asks[0].options)
    return sum(output.output_tokens for output in outputs)
