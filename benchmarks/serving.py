"""`python -m benchmarks.serving`: Slimseq's service under load, beside the servers that one would write instead.

Clients that wait for their answers, 1 to 64 of them, and requests that arrive as a Poisson process ask each server for
the same short and long texts, with the same settings and outputs of equal length: the running service, a transformers
server that generates one request at a time, and a CTranslate2 server that batches what waits; or, as `original`, the
service with the variant's original. They take turns, load by load; so do the service and its own runtime in process.
Load and server share the machine.

With `--shape`, the model is one of a hub's shape with random weights, in fp32 (`original`) and int8 (`quantized`): what
the service adds is the same, and what it serves is as large as what is served elsewhere.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, parser_of, record, run, say
from benchmarks.in_process import beside, in_process
from benchmarks.load import Client, Figures
from benchmarks.random_models import SHAPES, publish_random
from benchmarks.sections import serving_section
from benchmarks.servers.contenders import ORIGINAL, SERVERS, USUAL, Setup, ctranslate2, slimseq, slimseq_on_ctranslate2
from benchmarks.servers.process import Server, running
from benchmarks.soak import MIXED_TOKENS, mixed, soak
from benchmarks.turns import Contestant, in_turns, ratio_of
from benchmarks.workload import Ask, beams_in_words, workload
from slimseq.compression.context import Context
from slimseq.compression.quantize.quantize import quantize
from slimseq.evaluation.host import available_cores, bound_heaps
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import GenerationDefaults, Task
from slimseq.models_store.store import Store

CLIENTS = (1, 4, 16, 32, 64)
# That servers, and the service and its runtime, are compared with, or the nearest number that is asked for.
CONTEST_CLIENTS = 32
ROUNDS = 5
# The most that models of a hub's shape read and write.
HUB_GENERATION = GenerationDefaults(max_input_tokens=256, max_new_tokens=256)
DOTS_PER_INCH = 120


@dataclass
class Contender:
    """A running server that generates, what it is asked, and the most requests a second that it has answered."""

    server: Server
    client: Client
    asks: Sequence[Ask]
    runtime: str | None
    loads: list[Record] = field(default_factory=list)
    capacity: float = 0.0
    tokens_per_second: float = 0.0

    @property
    def name(self) -> str:
        """The server's."""
        return self.server.name

    def closed(self, clients: int, seconds: float) -> Figures:
        """Returns the figures under clients that each wait for their answer."""
        return self.client.closed(self.asks, clients, seconds)

    def poisson(self, rate: float, seconds: float) -> Figures:
        """Returns the figures under requests that arrive at a rate."""
        return self.client.poisson(self.asks, rate, seconds)

    def take(self, kind: str, amount: float, figures: Figures) -> None:
        """Keeps the figures of a load."""
        self.loads.append({"kind": kind, "amount": amount, "figures": figures})
        if kind == "closed":
            self.capacity = max(self.capacity, figures.requests_per_second)
            self.tokens_per_second = max(self.tokens_per_second, figures.tokens_per_second)
        say(f"{self.name}, {kind} {amount:.1f}: {figures.tokens_per_second:,.0f} tokens/s, {figures.errors} errors")

    def record(self) -> Record:
        """Returns what it is and what it did."""
        options = self.asks[0].options
        search = beams_in_words(options.num_beams, ends_early=options.early_stopping)
        described = {
            "description": f"{self.server.description}, {search}",
            "runtime": self.runtime,
            "loads": self.loads,
        }
        return {"name": self.name, **described, "capacity": self.capacity, "tokens_per_second": self.tokens_per_second}


@contextmanager
def contending(server: Server, folder: Path, asks: Sequence[Ask]) -> Iterator[Contender]:
    """Starts a server and lets it generate once for each kind of text; it runs until the block ends.

    Args:
        server: what to start.
        folder: where its log goes.
        asks: what it is asked.

    Raises:
        BenchmarkFailed: it does not start, or does not generate.
    """
    with running(server, folder) as client:
        first, _ = [client.call("POST", server.path, ask.body) for ask in asks[:2]]
        yield Contender(server, client, asks, first.get("runtime"))


def benchmark(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures everything that a command line asks for; what cannot start is left out.

    Raises:
        SlimseqError: there is no such variant.
    """
    store = hub_store(given.shape, scratch) if given.shape else Store(given.store)
    setup = Setup(store, given.task, given.variant, scratch, given.threads or available_cores())
    names = [name for name in SERVERS if name in given.servers]
    make_asks = partial(workload, num_beams=given.beams, early_stopping=given.early_stopping)
    asks = make_asks(setup.manifest, given.tokens)
    options = asks[0].options.model_dump(mode="json")
    settings = {name: getattr(given, name) for name in ("tokens", "seconds", "share")}
    found = record(
        task=given.shape or given.task.value,
        variant=given.variant,
        settings=settings | {"options": options, "threads": setup.threads},
        **{"servers": [], "contest": None, "left_out": {}, "in_process": None, "beside": None, "soak": None, "mix": []},
    )
    clients = min(given.clients, key=lambda count: abs(count - CONTEST_CLIENTS), default=CONTEST_CLIENTS)

    def leave_out(name: str, error: SlimseqError) -> None:
        found["left_out"][name] = str(error)
        say(f"{name} is left out: {error}")

    with ExitStack() as stack:
        contenders: list[Contender] = []
        for name in names if given.clients else ():
            # Each variant searches in its own way, unless another is said.
            own = make_asks(store.manifest(given.task, ORIGINAL), given.tokens) if name == ORIGINAL else asks
            try:
                contenders.append(stack.enter_context(contending(SERVERS[name](setup), scratch, own)))
            except SlimseqError as error:
                leave_out(name, error)
        measure(contenders, given)
        found["servers"] = [each.record() for each in contenders]
        if len(contenders) > 1 and contenders[0].capacity:
            found["contest"] = contest(contenders, clients, given.share * contenders[0].capacity, given.seconds)
        for each in contenders:
            if each.name == "slimseq":
                best = in_process(setup, each.runtime, asks, given.seconds)
                found["in_process"] = best
                found["beside"] = beside(setup, each.client, best, asks, clients, given.seconds)
    makers: dict[str, Callable[[Setup], Server]] = {
        "slimseq on onnxruntime": partial(slimseq, runtime="onnxruntime"),
        "slimseq on ctranslate2": slimseq_on_ctranslate2,
        "ctranslate2": ctranslate2,
    }
    for name, make in makers.items() if given.mix else ():
        if name.split()[0] in names:
            try:
                with contending(make(setup), scratch, make_asks(setup.manifest, MIXED_TOKENS)) as each:
                    found["mix"].append(mixed(each.client, name, each.server.description, each.asks, given.seconds))
            except SlimseqError as error:
                leave_out(f"{name} in the mix", error)
    if given.soak:
        try:
            with contending(slimseq(setup), scratch, asks) as each:
                found["soak"] = soak(each.client, asks, clients, given.share, given.seconds, given.soak)
        except BenchmarkFailed as error:
            leave_out("soak", error)
    if given.plot:
        draw(found, given.plot)
    return found


def measure(contenders: Sequence[Contender], given: argparse.Namespace) -> None:
    """Puts servers under one load after the other, in turns; what arrives is a share of the first one's capacity."""
    for clients in given.clients:
        for each in contenders:
            each.take("closed", clients, each.closed(clients, given.seconds))
    if contenders and (rate := given.share * contenders[0].capacity):
        for each in contenders:
            each.take("poisson", rate, each.poisson(rate, given.seconds))


def contest(
    contestants: Sequence[Contestant], clients: int, rate: float, seconds: float, rounds: int = ROUNDS
) -> Record:
    """Compares servers in turns, for clients who wait and where requests arrive at random.

    Returns:
        All rounds, and the service's ratios to each other server: of the answers a second of clients who wait (not
        tokens: where outputs end themselves, some searches write more of them for the same texts) and of the latency's
        95th percentile where requests arrive; None where a server answered nothing, or failed in part.
    """
    measured = in_turns(
        contestants,
        {"closed": lambda each: each.closed(clients, seconds), "poisson": lambda each: each.poisson(rate, seconds)},
        ROUNDS,
    )

    def p95(figures: Figures) -> float | None:
        # Where some requests have no answer, the latencies are those of the lucky.
        return None if figures.errors else figures.p95_ms

    names = [each.name for each in contestants]
    ratios = {}
    for other in names if "slimseq" in names else ():
        if other != "slimseq":
            closed = [(each["closed"]["slimseq"], each["closed"][other]) for each in measured]
            arrived = [(each["poisson"]["slimseq"], each["poisson"][other]) for each in measured]
            ratios[other] = {
                "throughput": ratio_of([(a.requests_per_second, b.requests_per_second) for a, b in closed]),
                "p95": ratio_of([(p95(a), p95(b)) for a, b in arrived]),
            }
    return {"clients": clients, "rate": rate, "rounds": measured, "ratios": ratios}


def hub_store(shape: str, scratch: Path) -> Store:
    """Makes a store with a random model of a hub's shape, as `translation/original` and `translation/quantized`."""
    store = publish_random(shape, scratch / "hub", HUB_GENERATION)
    quantize(Context(store), Task.TRANSLATION, ORIGINAL)
    return store


def draw(found: Record, path: Path) -> None:
    """Draws tokens a second and p95 against the number of clients, a line for each server, into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    throughput, latency = figure.subplots(1, 2)
    for server in found["servers"]:
        closed = [load for load in server["loads"] if load["kind"] == "closed"]
        clients, figures = [load["amount"] for load in closed], [load["figures"] for load in closed]
        throughput.plot(clients, [each.tokens_per_second for each in figures], marker="o", label=server["name"])
        latency.plot(clients, [each.p95_ms or float("nan") for each in figures], marker="o", label=server["name"])
    if best := found["in_process"]:
        throughput.axhline(best["tokens_per_second"], linestyle="--", color="gray", label="in process, best batch")
    for axes, label in ((throughput, "output tokens a second"), (latency, "p95 latency, ms")):
        axes.set(xlabel="clients that wait for their answers", ylabel=label, ylim=(0, None))
        axes.legend()
    figure.suptitle(f"{found['task']}/{found['variant']}, {found['host']}")
    figure.savefig(path, format="png", dpi=DOTS_PER_INCH)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    # As the service's process, or its runtime in this one would be timed with other memory.
    bound_heaps()
    parser = parser_of("serving", __doc__)
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default=ORIGINAL)
    parser.add_argument("--shape", choices=list(SHAPES), help="a random translator instead of the store's")
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=USUAL)
    parser.add_argument("--clients", nargs="*", type=int, default=CLIENTS, help="none: no loads but what follows")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--share", type=float, default=0.8, help="of the first server's capacity that arrives")
    parser.add_argument("--tokens", nargs=2, type=int, default=(16, 64), help="of short and long outputs; 0: any")
    parser.add_argument("--beams", type=int, help="each variant's own by default")
    early = "whether a search ends with its last beam that has finished; each variant's own way by default"
    parser.add_argument("--early-stopping", action=argparse.BooleanOptionalAction, help=early)
    parser.add_argument("--threads", type=int, default=0, help="of each server; all cores by default")
    parser.add_argument("--soak", type=float, default=0, metavar="SECONDS", help="keep the service under load")
    parser.add_argument("--mix", action="store_true", help="short texts while long ones run")
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    run(parser, arguments, benchmark, serving_section)


if __name__ == "__main__":
    main()
