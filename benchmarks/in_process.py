"""What the runtime does without a service around it: tokens a second at its best batch, and one request's time."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

from benchmarks.figures import percentile_ms
from benchmarks.workload import Ask
from slimseq.evaluation.fastest import Layout
from slimseq.inference.generator import TextGenerator

BATCHES = (1, 4, 8, 16, 32, 64)
# Opens an artifact in a layout.
OpenIn = Callable[[Layout], TextGenerator]


@dataclass(frozen=True)
class InProcess:
    """What an open artifact does in this process.

    Args:
        runtime: what runs it.
        batch: texts in the batches that gave most.
        layout: where they do; a batch's parts run at a time.
        tokens_per_second: with such batches.
        single_layout: where one request takes least.
        single_p50_ms: median of its time there, tokenization included.
    """

    runtime: str
    batch: int
    layout: Layout
    tokens_per_second: float
    single_layout: Layout
    single_p50_ms: float


@dataclass(frozen=True)
class Crew:
    """An open artifact whose batches are shared out among as many threads as generations of it run at a time."""

    generator: TextGenerator
    threads: ThreadPoolExecutor
    layout: Layout

    def generate(self, asks: Sequence[Ask]) -> int:
        """Generates for texts of the same settings; returns how many tokens that gave."""
        return sum(self.threads.map(self._generate, self.layout.parts(asks)))

    def _generate(self, asks: Sequence[Ask]) -> int:
        encoded = [self.generator.encode(ask.text) for ask in asks]
        return sum(output.output_tokens for output in self.generator.generate(encoded, asks[0].options))


@contextmanager
def crew_in(open_in: OpenIn, layout: Layout) -> Iterator[Crew]:
    """Opens an artifact in a layout, until the block ends."""
    with open_in(layout) as generator, ThreadPoolExecutor(layout.workers) as threads:
        yield Crew(generator, threads, layout)


def in_process(
    open_in: OpenIn,
    layouts: Sequence[Layout],
    asks: Sequence[Ask],
    single: Ask,
    seconds: float,
    batches: Sequence[int] = BATCHES,
) -> InProcess:
    """Measures an artifact in each layout; tokenization counts, as it does in a service.

    Args:
        open_in: opens the artifact in a layout.
        layouts: those to try.
        asks: whose texts make up the batches, those of equal settings together.
        single: the request that is timed alone.
        seconds: how long each layout takes, at least; every size of batch is run once whatever it takes.
        batches: sizes to try.

    Returns:
        The best of all.
    """
    share = seconds / (len(batches) + 1)
    speeds: dict[tuple[Layout, int], float] = {}
    alone: dict[Layout, float] = {}
    for layout in layouts:
        with crew_in(open_in, layout) as crew:
            runtime = crew.generator.runtime.name
            speeds |= {(layout, size): tokens_per_second(crew, asks, size, share) for size in batches}
            alone[layout] = single_p50_ms(crew, single, share)
    fastest, size = max(speeds, key=lambda key: speeds[key])
    soonest = min(alone, key=lambda layout: alone[layout])
    return InProcess(runtime, size, fastest, speeds[fastest, size], soonest, alone[soonest])


def single_p50_ms(crew: Crew, ask: Ask, seconds: float) -> float:
    """Returns the median milliseconds of one request, asked again and again for so long."""
    crew.generate([ask])
    durations: list[float] = []
    ends = time.perf_counter() + seconds
    while not durations or time.perf_counter() < ends:
        started = time.perf_counter()
        crew.generate([ask])
        durations.append(time.perf_counter() - started)
    median = percentile_ms(durations, 50)
    assert median is not None
    return median


def tokens_per_second(crew: Crew, asks: Sequence[Ask], size: int, seconds: float) -> float:
    """Returns how many tokens a second batches of a size make, measured for so long."""
    turns = [_batches(kind, size) for kind in _by_options(asks)]
    for turn in turns:
        crew.generate(next(turn))
    tokens, started = 0, time.perf_counter()
    while True:
        # A whole round, so that each kind has its share of texts.
        tokens += sum(crew.generate(next(turn)) for turn in turns)
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
