"""Puts servers under the loads that `benchmarks.serving` plans, load by load, so that a machine's drift hits all alike.

They are all there from the start; those whose turn it is not wait.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.progress import Progress, TaskID

from benchmarks.beside import Beside, beside
from benchmarks.client import Client
from benchmarks.connection import BadAnswer
from benchmarks.contest import Contest, contest
from benchmarks.figures import Figures
from benchmarks.in_process import InProcess, in_process
from benchmarks.mix import mixed
from benchmarks.servers.contenders import Setup, slimseq, slimseq_on_ctranslate2
from benchmarks.servers.contenders import ctranslate2 as static_batches
from benchmarks.servers.process import Server, ServerFailed, running
from benchmarks.serving_results import Load, Results, ServerResult
from benchmarks.soak import Soak, capacities, soak
from benchmarks.workload import Ask, beams_in_words
from slimseq.compression.context import Context
from slimseq.evaluation.fastest import Layout, even_layouts
from slimseq.inference.generator import TextGenerator, open_generator

# That servers, and the service and its runtime, are compared with, or the nearest number that is asked for.
CONTEST_CLIENTS = 32


@dataclass(frozen=True)
class Plan:
    """Which loads there are.

    Args:
        clients: numbers of clients that wait for their answers.
        seconds: each load's length.
        share: of a capacity, for the rate at which requests arrive.
        asks: what is asked of the variant.
    """

    clients: Sequence[int]
    seconds: float
    share: float
    asks: Sequence[Ask]

    @property
    def contest_clients(self) -> int:
        """How many clients wait where two are compared: of those planned, the nearest to what is usual."""
        return min(self.clients, key=lambda count: abs(count - CONTEST_CLIENTS), default=CONTEST_CLIENTS)


@dataclass(frozen=True)
class Watched:
    """Where progress goes: a bar that moves with each load, and a line for each that is over."""

    context: Context
    progress: Progress
    bar: TaskID

    def began(self, what: str) -> None:
        """Says what runs now."""
        self.progress.update(self.bar, status=what)

    def ended(self, line: str) -> None:
        """Says what came of it."""
        self.progress.update(self.bar, advance=1, status="")
        self.context.say(line)


@dataclass(frozen=True)
class Contender:
    """A running server that generates, what it is asked, and what it has done so far."""

    client: Client
    asks: Sequence[Ask]
    result: ServerResult

    @property
    def name(self) -> str:
        """The server's."""
        return self.result.name

    def closed(self, clients: int, seconds: float) -> Figures:
        """Returns the figures under clients that each wait for their answer."""
        return self.client.closed(self.asks, clients, seconds)

    def poisson(self, rate: float, seconds: float) -> Figures:
        """Returns the figures under requests that arrive at a rate."""
        return self.client.poisson(self.asks, rate, seconds)


@contextmanager
def contending(server: Server, folder: Path, asks: Sequence[Ask]) -> Iterator[Contender]:
    """Starts a server and lets it generate once, until the block ends.

    Args:
        server: what to start.
        folder: where its log goes.
        asks: what it is asked.

    Raises:
        ServerFailed: it does not start, or does not generate.
    """
    with running(server, folder) as port:
        client = Client(port, server.path)
        runtime = _warm(server, client, asks)
        options = asks[0].options
        search = beams_in_words(options.num_beams, ends_early=options.early_stopping)
        description = f"{server.description}, {search}"
        yield Contender(client, asks, ServerResult(server.name, description, runtime))


def measure(contenders: Sequence[Contender], plan: Plan, watched: Watched) -> None:
    """Puts servers under one load after the other, in turns; what arrives is a share of the first one's capacity."""

    def took(contender: Contender, load: Load) -> None:
        contender.result.loads.append(load)
        figures = load.figures
        watched.ended(
            f"{contender.name}, {load.words}: {figures.tokens_per_second:,.0f} tokens/s, {figures.errors} errors"
        )

    for clients in plan.clients:
        for each in contenders:
            watched.began(f"{each.name}, {clients} clients")
            took(each, Load("closed", clients, each.closed(clients, plan.seconds)))
    rate = plan.share * contenders[0].result.capacity if contenders else 0.0
    for each in contenders if rate else ():
        watched.began(f"{each.name}, {rate:.1f} requests arrive a second")
        took(each, Load("poisson", rate, each.poisson(rate, plan.seconds)))


def measure_contest(contenders: Sequence[Contender], plan: Plan) -> Contest | None:
    """Compares servers turn by turn, for clients who wait and where requests arrive at random; None of what is dead."""
    rate = plan.share * contenders[0].result.capacity
    if not rate:
        return None
    return contest(contenders, plan.contest_clients, rate, plan.seconds)


def measure_beside(setup: Setup, plan: Plan, service: Contender) -> tuple[InProcess, Beside]:
    """Looks for the layout and batch in which the service's runtime is fastest; then both take turns."""

    def opened(layout: Layout) -> TextGenerator:
        runtime = service.result.runtime
        return open_generator(setup.store, setup.task, setup.variant, runtime, layout.threads, layout.workers)

    best = in_process(opened, even_layouts(setup.threads), plan.asks, plan.asks[0], plan.seconds)
    return best, beside(service.client, opened, best, setup.layout, plan.asks, plan.contest_clients, plan.seconds)


def measure_mix(setup: Setup, names: Sequence[str], asks: Sequence[Ask], seconds: float, results: Results) -> None:
    """Adds what short texts wait for beside long ones: under continuous batching, and under static batches."""
    makers: dict[str, Callable[[], Server]] = {
        "slimseq on onnxruntime": lambda: slimseq(setup, "onnxruntime"),
        "slimseq on ctranslate2": lambda: slimseq_on_ctranslate2(setup),
        "ctranslate2": lambda: static_batches(setup),
    }
    for name, make in makers.items():
        if name.split()[0] not in names:
            continue
        try:
            server = make()
            with running(server, setup.scratch) as port:
                client = Client(port, server.path)
                _warm(server, client, asks)
                results.mix.append(mixed(client, name, server.description, asks, seconds))
        except ServerFailed as error:
            results.left_out[f"{name} in the mix"] = str(error)


def measure_soak(setup: Setup, plan: Plan, seconds: float) -> Soak:
    """Keeps the service under a share of its own capacity, which is measured first.

    Raises:
        ServerFailed: it does not start, or answers nothing.
    """
    server = slimseq(setup)
    with running(server, setup.scratch) as port:
        client = Client(port, server.path)
        _warm(server, client, plan.asks)
        found = capacities(client, plan.asks, plan.contest_clients, plan.seconds)
        if not median(found):
            raise ServerFailed("slimseq answered nothing that a capacity could be taken from")
        return soak(client, plan.asks, found, plan.share, seconds)


def _warm(server: Server, client: Client, asks: Sequence[Ask]) -> str | None:
    """Asks once for each kind; returns what the server says that it ran on."""
    try:
        first, _ = [client.runtime(ask) for ask in asks[:2]]
    except (OSError, BadAnswer) as error:
        raise ServerFailed(f"{server.name} does not generate: {error}") from error
    return first
