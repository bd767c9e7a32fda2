"""`python -m benchmarks.serving`: Slimseq's service under load, beside the servers that one would write instead.

Clients that wait for their answers, 1 to 64 of them, and requests that arrive as a Poisson process send the same short
and long texts with the same options and outputs of equal length to each server: the service, a transformers server
that generates one request at a time, a CTranslate2 server that batches waiting requests, `plain`, twelve lines of
FastAPI and CTranslate2, and, as `original`, the service with the variant's original. The servers take turns; so do the
service and its own runtime in process, and the service and a plain FastAPI POST, whose CPU time of the event loop's
thread is the unit for the service's. Load and server share the machine.

With `--shape`, the model is one of a hub's shape with random weights, in fp32 (`original`) and int8 (`quantized`).
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.command import Record, leaving_out, parser_of, record, run, say, search_name
from benchmarks.loads.load import Client, Figures, make_requests
from benchmarks.loads.turns import COMPARED_CLIENTS, compare
from benchmarks.serving_lines import lines
from benchmarks.systems.in_process import in_process
from benchmarks.systems.peer_systems import ORIGINAL
from benchmarks.systems.random_models import SHAPES, publish_random
from benchmarks.systems.servers import SERVERS, Setup, plain_post, running
from slimseq.app.serving.heap import bound_heaps
from slimseq.compression.context import Context
from slimseq.compression.quantize.quantize import quantize
from slimseq.evaluation.host import available_cores
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

CLIENTS = (1, 4, 16, 32, 64)
# Limits of models of a hub's shape.
HUB_GENERATION = GenerationDefaults(max_input_tokens=256, max_new_tokens=256)


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures everything that the options name; servers that do not start are left out."""
    store, seconds = hub_store(given.shape, scratch) if given.shape else Store(given.store), given.seconds
    setup = Setup(store, given.task, given.variant, scratch, given.threads or available_cores())
    requests_of = partial(
        make_requests, num_beams=given.beams, early_stopping=given.early_stopping, with_facts=given.facts
    )
    requests = requests_of(setup.manifest, given.tokens)
    clients = min(given.clients, key=lambda count: abs(count - COMPARED_CLIENTS))
    settings = {"tokens": given.tokens, "seconds": seconds, "share": given.share, "threads": setup.threads}
    settings["options"] = requests[0].options.model_dump(mode="json")
    found = record(task=given.shape or given.task.value, variant=given.variant, settings=settings)
    settings["facts"] = given.facts
    found |= {"servers": [], "contest": None, "runtime": None, "loop": None, "left_out": {}}
    with ExitStack() as stack:
        servers: dict[str, Client] = {}
        for name in [each for each in SERVERS if each in given.servers]:
            with leaving_out(found, name):
                # Each variant has its own beams, unless an option sets them.
                own = requests_of(store.manifest(given.task, ORIGINAL), given.tokens) if name == ORIGINAL else requests
                server = SERVERS[name](setup)
                servers[name] = stack.enter_context(running(server, scratch, own))
                search = search_name(own[0].options.num_beams, own[0].options.early_stopping)
                found["servers"].append({"name": name, "description": f"{server.description}, {search}", "loads": []})

        def put(kind: str, amount: float, load: Callable[[Client], Figures]) -> None:
            for server, client in zip(found["servers"], servers.values(), strict=True):
                figures = load(client)
                server["loads"].append({"kind": kind, "amount": amount, "figures": figures})
                say(f"{server['name']}, {kind} {amount:.1f}: {figures.tokens_per_second:,.0f} tokens/s")

        for count in given.clients:
            put("closed", count, lambda client, count=count: client.closed(count, seconds))  # type: ignore[misc]
        first = found["servers"][0]["loads"] if servers else []
        many = (lambda each: each.closed(clients, seconds), "requests_per_second")
        if rate := given.share * max((load["figures"].requests_per_second for load in first), default=0.0):
            put("poisson", rate, lambda client: client.poisson(rate, seconds))
            loads = {"throughput": many, "p95": (lambda each: each.poisson(rate, seconds), "p95_ms")}
            compared = compare(servers, loads, given.rounds if len(servers) > 1 else 0)
            found["contest"] = {"clients": clients, "rate": rate, **compared}
        service = servers.get("slimseq")
        if service:
            with leaving_out(found, "in process"), in_process(setup, service) as runtime:
                loads = {"throughput": many, "p50": (lambda each: each.closed(1, seconds), "p50_ms")}
                compared = compare({"slimseq": service, "in process": runtime}, loads, given.rounds)
                found["runtime"] = {"clients": clients, **compared}
            with leaving_out(found, "plain POST"), running(plain_post(setup), scratch, requests) as unit:
                loads = {"cpu": (lambda each: each.closed(clients, seconds), "loop_cpu_ms")}
                compared = compare({"slimseq": service, "plain POST": unit}, loads, given.rounds)
                found["loop"] = {"clients": clients, **compared}
    return found


def hub_store(shape: str, scratch: Path) -> Store:
    """Makes a store with a random model of a hub's shape, as `translation/original` and `translation/quantized`."""
    store = publish_random(shape, scratch / "hub", HUB_GENERATION)
    quantize(Context(store), Task.TRANSLATION, ORIGINAL)
    return store


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    # As in the service's process, so that its runtime has the same memory in this one.
    bound_heaps()
    parser = parser_of("serving", __doc__)
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default=ORIGINAL)
    parser.add_argument("--shape", choices=list(SHAPES), help="a random translator instead of the store's")
    usual = [name for name in SERVERS if name not in (ORIGINAL, "plain")]
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=usual)
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS, help="that wait for their answers")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=5, help="how often servers are compared")
    parser.add_argument("--share", type=float, default=0.8, help="of the first server's capacity that arrives")
    parser.add_argument("--tokens", nargs=2, type=int, default=(16, 64), help="of short and long outputs; 0: any")
    parser.add_argument("--beams", type=int, help="each variant's own by default")
    early = "stop a beam search with as many finished hypotheses as beams; each variant's own way by default"
    parser.add_argument("--early-stopping", action=argparse.BooleanOptionalAction, help=early)
    parser.add_argument("--threads", type=int, default=0, help="of each server; all cores by default")
    parser.add_argument("--facts", action="store_true", help="sentences with numbers, dates and addresses")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
