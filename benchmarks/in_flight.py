"""What a runtime's engines make without a service around them, where what ends makes place for the next."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

from benchmarks.workload import Ask
from slimseq.inference.generator import TextGenerator
from slimseq.inference.runtime import Engine
from slimseq.inference.tokenizer import Encoding


def continuous_tokens_per_second(
    generator: TextGenerator, asks: Sequence[Ask], workers: int, in_flight: int, seconds: float
) -> float | None:
    """Returns how many tokens a second engines make while as many inputs as can be are in flight.

    Args:
        generator: whose engines they are.
        asks: what goes in, again and again; tokenization counts.
        workers: engines, each in its own thread.
        in_flight: inputs of all of them together.
        seconds: how long it is measured for, after as many outputs as there are places.

    Returns:
        None where the runtime starts and ends its rows together.
    """
    engines = [generator.engine() for _ in range(workers)]
    places = [len(range(worker, in_flight, workers)) for worker in range(workers)]
    # Each begins somewhere else.
    begins = [len(asks) * worker // workers for worker in range(workers)]
    with ThreadPoolExecutor(workers) as threads:
        speeds = [
            threads.submit(_speed, generator, engine, islice(cycle(asks), first, None), own, seconds)
            for engine, own, first in zip(engines, places, begins, strict=True)
            if engine is not None and own
        ]
        return sum(speed.result() for speed in speeds) if speeds else None


def _speed(generator: TextGenerator, engine: Engine, asks: Iterator[Ask], places: int, seconds: float) -> float:
    """Returns one engine's tokens a second."""
    flying: dict[int, Encoding] = {}
    warming, tokens, started = places, 0, time.perf_counter()
    while warming > 0 or time.perf_counter() - started < seconds:
        while len(flying) < places:
            ask = next(asks)
            encoding = generator.encode(ask.text)
            flying[engine.add(encoding.ids, ask.options)] = encoding
        if engine.waiting:
            engine.admit()
        for key, progress in engine.step().items():
            if progress.ended is None:
                continue
            tokens += generator.output(flying.pop(key), progress.ended).output_tokens
            warming -= 1
            if warming == 0:
                tokens, started = 0, time.perf_counter()
    return tokens / (time.perf_counter() - started)
