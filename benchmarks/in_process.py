"""What a runtime makes in this process, without a service around it, in turns with the service."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from statistics import median

from benchmarks.command import Record
from benchmarks.load import MILLISECONDS, Client, Outcome, Send, outcome
from benchmarks.servers.contenders import Setup
from benchmarks.workload import Ask
from slimseq.evaluation.fastest import Layout, even_layouts
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtime import Engine
from slimseq.inference.tokenizer import Encoding

BATCHES = (1, 4, 8, 16, 32, 64)
TURNS = 5
# Generates for texts of the same settings; returns how many tokens that gave.
Generate = Callable[[Sequence[Ask]], int]


@contextmanager
def opened(setup: Setup, runtime: str | None, layout: Layout) -> Iterator[tuple[TextGenerator, Generate]]:
    """Opens the variant in a layout, until the block ends; batches are shared out among the layout's workers."""
    threads, workers = layout.threads, layout.workers
    with (
        open_generator(setup.store, setup.task, setup.variant, runtime, threads, workers) as generator,
        ThreadPoolExecutor(workers) as pool,
    ):

        def part(asks: Sequence[Ask]) -> int:
            encoded = [generator.encode(ask.text) for ask in asks]
            return sum(output.output_tokens for output in generator.generate(encoded, asks[0].options))

        yield generator, lambda asks: sum(pool.map(part, layout.parts(asks)))


def in_process(setup: Setup, runtime: str | None, asks: Sequence[Ask], seconds: float) -> Record:
    """Returns the layout and batch that make most tokens a second, and the layout in which one request takes least.

    Batches hold texts of equal settings; the first ask is timed alone. Each layout takes so many seconds, or longer:
    every size of batch is run once.
    """
    share = seconds / (len(BATCHES) + 1)
    speeds: dict[tuple[Layout, int], float] = {}
    alone: dict[Layout, float] = {}
    for layout in even_layouts(setup.threads):
        with opened(setup, runtime, layout) as (generator, generate):
            name = generator.runtime.name
            speeds |= {(layout, size): tokens_per_second(generate, asks, size, share) for size in BATCHES}
            alone[layout] = single_p50_ms(generate, asks[0], share)
    fastest, size = max(speeds, key=lambda key: speeds[key])
    soonest = min(alone, key=lambda layout: alone[layout])
    return {
        "runtime": name,
        "batch": size,
        "layout": fastest,
        "tokens_per_second": speeds[fastest, size],
        "single_layout": soonest,
        "single_p50_ms": alone[soonest],
    }


def beside(setup: Setup, client: Client, best: Record, asks: Sequence[Ask], clients: int, seconds: float) -> Record:
    """Lets the running service and its runtime in this process take turns; one waits while the other works.

    Args:
        setup: the variant, and the service's layout, in which single requests are timed.
        client: of the service.
        best: what `in_process` returned.
        asks: what is asked; the first alone for single requests.
        clients: who wait for the service's answers.
        seconds: how long each takes a turn.

    Returns:
        Every turn's figures, and the medians of what the service makes of its runtime's tokens, and adds to a request.
    """
    layout, turns = setup.layout, []
    with ExitStack() as stack:
        generator, alone = stack.enter_context(opened(setup, best["runtime"], layout))
        same = layout == best["layout"]
        busy = alone if same else stack.enter_context(opened(setup, best["runtime"], best["layout"]))[1]
        for _ in range(TURNS):
            turn: Record = {
                "service_tokens_per_second": client.closed(asks, clients, seconds).tokens_per_second,
                "tokens_per_second": tokens_per_second(busy, asks, best["batch"], seconds),
                "continuous_tokens_per_second": continuous(generator, asks, layout.workers, clients, seconds),
            }
            # One by one: a machine's speed drifts by more within seconds than a service adds.
            outcomes, durations = client.run(
                lambda send: by_turns(send, asks[0], lambda: alone([asks[0]]), 2 * seconds)
            )
            answered = [each.ended - each.asked for each in outcomes if each.error is None]
            turn["service_single_p50_ms"] = median(answered) * MILLISECONDS if answered else None
            turn["single_p50_ms"] = median(durations) * MILLISECONDS
            turns.append(turn)

    def share_of(name: str) -> float | None:
        shares = [turn["service_tokens_per_second"] / made for turn in turns if (made := turn[name])]
        return median(shares) if shares else None

    added = [a - turn["single_p50_ms"] for turn in turns if (a := turn["service_single_p50_ms"]) is not None]
    return {
        "clients": clients,
        "layout": layout,
        "turns": turns,
        "share": share_of("tokens_per_second"),
        "continuous_share": share_of("continuous_tokens_per_second"),
        "overhead_ms": median(added) if added else None,
        "single_p50_ms": median(turn["single_p50_ms"] for turn in turns),
    }


async def by_turns(
    send: Send, ask: Ask, other: Callable[[], object], seconds: float
) -> tuple[list[Outcome], list[float]]:
    """Sends a request and does something else in turns; returns outcomes, and how long each of the others took."""
    outcomes: list[Outcome] = []
    durations: list[float] = []
    ends = time.perf_counter() + seconds
    while not outcomes or time.perf_counter() < ends:
        outcomes.append(await outcome(send, ask, time.perf_counter()))
        started = time.perf_counter()
        other()
        durations.append(time.perf_counter() - started)
    return outcomes, durations


def single_p50_ms(generate: Generate, ask: Ask, seconds: float) -> float:
    """Returns the median milliseconds of one request, asked again and again for so long."""
    generate([ask])
    durations: list[float] = []
    ends = time.perf_counter() + seconds
    while not durations or time.perf_counter() < ends:
        started = time.perf_counter()
        generate([ask])
        durations.append(time.perf_counter() - started)
    return median(durations) * MILLISECONDS


def tokens_per_second(generate: Generate, asks: Sequence[Ask], size: int, seconds: float) -> float:
    """Returns how many tokens a second batches of a size make, measured for so long; tokenization counts."""
    kinds: dict[str, list[Ask]] = {}
    for ask in asks:
        kinds.setdefault(ask.options.model_dump_json(), []).append(ask)
    endless = [cycle(kind) for kind in kinds.values()]

    def of_each_kind() -> int:
        return sum(generate(list(islice(each, size))) for each in endless)

    of_each_kind()
    tokens, started = 0, time.perf_counter()
    while True:
        tokens += of_each_kind()
        spent = time.perf_counter() - started
        if spent >= seconds:
            return tokens / spent


def continuous(
    generator: TextGenerator, asks: Sequence[Ask], workers: int, in_flight: int, seconds: float
) -> float | None:
    """Returns how many tokens a second engines make while as many inputs as can be are in flight.

    Each worker is an engine in its own thread, and is measured after as many outputs as it has in flight. None where
    the runtime starts and ends its rows together.
    """
    with ThreadPoolExecutor(workers) as pool:
        speeds = [
            # Each begins with another text.
            pool.submit(
                _speed, generator, engine, islice(cycle(asks), len(asks) * worker // workers, None), own, seconds
            )
            for worker in range(workers)
            if (own := len(range(worker, in_flight, workers))) and (engine := generator.engine()) is not None
        ]
        return sum(speed.result() for speed in speeds) if speeds else None


def _speed(generator: TextGenerator, engine: Engine, asks: Iterator[Ask], capacity: int, seconds: float) -> float:
    """Returns one engine's tokens a second."""
    flying: dict[int, Encoding] = {}
    warming, tokens, started = capacity, 0, time.perf_counter()
    while warming > 0 or time.perf_counter() - started < seconds:
        while len(flying) < capacity:
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
