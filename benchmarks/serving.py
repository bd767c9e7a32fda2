"""`python -m benchmarks.serving`: Slimseq's service under load, beside the servers that one would write instead.

The servers are the service, a CTranslate2 server that batches waiting requests, and `plain`, twelve lines of FastAPI
and CTranslate2. For Firefox's model from English to Portuguese, another server is `fxtranslate`. All get the same short
and long texts with the same options. Outputs end by themselves, as those of users do; `--tokens` forces their lengths,
which are then the same for all servers. A load is a number of clients that wait for their answers, 1 to 64, or requests
that arrive as a Poisson process.

Comparisons are made in turns: of the servers; of the service and its own runtime in process; of the service and a plain
FastAPI POST, by the CPU time of the event loop's thread; and with `--mix` of short requests alone and beside long ones.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.command import (
    Record,
    leaving_out,
    left_out_lines,
    make_parser,
    measured_on,
    record,
    run,
    say,
    search_name,
    table,
)
from benchmarks.loads.load import Client, Figures, make_requests
from benchmarks.loads.mix import measure_mix
from benchmarks.loads.turns import COMPARED_CLIENTS, Loads, Ratio, compare, ratio
from benchmarks.systems.in_process import InProcess, in_process
from benchmarks.systems.servers import SERVERS, Setup, plain_post, running
from slimseq.app.serving.heap import bound_heaps
from slimseq.evaluation.host import available_cores
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

CLIENTS = (1, 4, 16, 32, 64)
MIX_FIGURES = ("p50_ms", "p95_ms", "documents_per_second")


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures everything that the options name; servers that do not start are left out."""
    setup = Setup(Store(given.store), given.task, given.variant, scratch, given.threads or available_cores())
    requests = make_requests(setup.manifest, given.tokens, given.beams, given.facts)
    settings = {name: getattr(given, name) for name in ("tokens", "seconds", "share", "facts", "mix")}
    settings |= {"threads": setup.threads, "options": requests[0].options.model_dump(mode="json")}
    found = record(task=given.task.value, variant=given.variant, settings=settings)
    found |= {"servers": [], "contest": None, "runtime": None, "loop": None, "mix": None, "left_out": {}}
    # The number of clients in comparisons: of those that are measured, the nearest to `COMPARED_CLIENTS`.
    clients = min(given.clients, key=lambda count: abs(count - COMPARED_CLIENTS))
    with ExitStack() as stack:
        servers: dict[str, Client] = {}
        for name in [each for each in SERVERS if each in given.servers]:
            with leaving_out(found, name):
                server = SERVERS[name](setup)
                servers[name] = stack.enter_context(running(server, scratch, requests))
                found["servers"].append({"name": name, "description": server.description, "loads": []})
        _measure_loads(found, servers, clients, given)
        service = servers.get("slimseq")
        if service:
            with leaving_out(found, "in process"), in_process(setup, service) as runtime:
                found["runtime"] = _compare_with_runtime(service, runtime, clients, given)
            with leaving_out(found, "plain POST"), running(plain_post(setup), scratch, requests) as unit:
                found["loop"] = _compare_with_plain_post(service, unit, clients, given)
        if service and given.mix:
            with leaving_out(found, "mix"):
                loads: Loads = {"p95": (lambda documents: measure_mix(service, documents, given.seconds), "p95_ms")}
                found["mix"] = compare({"alone": 0, "slimseq": given.mix}, loads, given.rounds)
    return found


def _measure_loads(found: Record, servers: Mapping[str, Client], clients: int, given: argparse.Namespace) -> None:
    """Puts all servers under each number of clients, then under arriving requests, and compares them in turns."""
    seconds = given.seconds

    def measure_load(kind: str, amount: float, load: Callable[[Client], Figures]) -> None:
        """Puts each server under a load: `amount` clients, or requests a second, by its kind."""
        for server, client in zip(found["servers"], servers.values(), strict=True):
            figures = load(client)
            server["loads"].append({"kind": kind, "amount": amount, "figures": figures})
            say(f"{server['name']}, {kind} {amount:.1f}: {figures.tokens_per_second:,.0f} tokens/s")

    for count in given.clients:
        measure_load("closed", count, lambda client, count=count: client.closed(count, seconds))  # type: ignore[misc]
    # Requests arrive at a share of what the first server can answer, the same for all servers.
    loads_of_first = found["servers"][0]["loads"] if servers else []
    capacity = max((load["figures"].requests_per_second for load in loads_of_first), default=0.0)
    rate = given.share * capacity
    if not rate:
        return
    measure_load("poisson", rate, lambda client: client.poisson(rate, seconds))
    loads: Loads = {
        "throughput": (lambda each: each.closed(clients, seconds), "requests_per_second"),
        "p95": (lambda each: each.poisson(rate, seconds), "p95_ms"),
    }
    compared = compare(servers, loads, given.rounds if len(servers) > 1 else 0)
    found["contest"] = {"clients": clients, "rate": rate, **compared}


def _compare_with_runtime(service: Client, runtime: InProcess, clients: int, given: argparse.Namespace) -> Record:
    """Compares the service with its own runtime in this process."""
    loads: Loads = {
        "throughput": (lambda each: each.closed(clients, given.seconds), "requests_per_second"),
        "p50": (lambda each: each.closed(1, given.seconds), "p50_ms"),
    }
    return {"clients": clients, **compare({"slimseq": service, "in process": runtime}, loads, given.rounds)}


def _compare_with_plain_post(service: Client, unit: Client, clients: int, given: argparse.Namespace) -> Record:
    """Compares the CPU time of two event loops, the service's and a plain POST's, in turns and at the same time."""
    seconds = given.seconds
    loads: Loads = {"cpu": (lambda each: each.closed(clients, seconds), "loop_cpu_ms")}
    compared = compare({"slimseq": service, "plain POST": unit}, loads, given.rounds)
    # Once more at the same time and with as many requests, so that the plain POST too finds the caches of the cores
    # filled by generation. The CPU time of both grows.
    with ThreadPoolExecutor(1) as pool:
        posts_per_second = service.closed(clients, seconds).requests_per_second
        posts = pool.submit(unit.poisson, posts_per_second, seconds)
        beside = [service.closed(clients, seconds).loop_cpu_ms, posts.result().loop_cpu_ms]
    return {"clients": clients, "beside": beside, **compared}


def lines(found: Record) -> Iterator[str]:
    """Yields a record as Markdown: a table of all loads, and a sentence for each comparison."""
    settings = found["settings"]
    search, (short, long) = search_name(settings["options"]["num_beams"]), settings["tokens"]
    facts = "; sentences with numbers, dates and addresses" if settings.get("facts") else ""
    lengths = "answers end by themselves"
    if short:
        lengths = f"forced lengths: answers of {short} and {long} tokens, the same for all servers"
    yield from (f"## The service under load: {found['task']}/{found['variant']}, {search}", "")
    yield (
        f"`python -m benchmarks.serving`, {settings['seconds']:g} s a load, {settings['threads']} "
        f"cores for load and server; {lengths}{facts}."
    )
    yield from ("", measured_on(found), "")
    head = ("server", "load", "requests/s", "tokens/s", "p50 ms", "p95 ms", "errors")
    yield from table(head, [_load(each["name"], load) for each in found["servers"] for load in each["loads"]])
    yield ""
    yield from (f"- {line}" for line in _conclusions(found))
    yield from (f"- {line}" for line in left_out_lines(found))


def _load(name: str, load: Record) -> list[str]:
    figures, amount = load["figures"], load["amount"]
    clients = f"{amount:.0f} client{'s' if amount != 1 else ''}"
    latencies = [figures["p50_ms"], figures["p95_ms"]]
    return [
        name,
        clients if load["kind"] == "closed" else f"{amount:.1f} arrive a second",
        f"{figures['requests_per_second']:.1f}",
        f"{figures['tokens_per_second']:,.0f}",
        *("-" if each is None else f"{each:,.0f}" for each in latencies),
        str(figures["errors"]),
    ]


def _conclusions(found: Record) -> Iterator[str]:
    """Yields a sentence for each comparison that was made."""
    runtime = found.get("runtime")
    if runtime:
        ratios = runtime["ratios"]["in process"]
        yield (
            f"Compared with its runtime in process, the service gives {_ratio(ratios['throughput'])} times the answers "
            f"a second with {runtime['clients']} clients, and takes {_ratio(ratios['p50'])} times as long for one."
        )
    loop = found.get("loop")
    if loop:
        yield from _loop_conclusions(loop)
    mix = found.get("mix")
    if mix and mix["rounds"]:
        yield from _mix_conclusions([each["p95"] for each in mix["rounds"]])
    contest = found["contest"] or {"ratios": {}}
    for server in found["servers"]:
        name = server["name"]
        ratios = contest["ratios"].get(name)
        if ratios:
            yield (
                f"{name}: {server['description']}. With {contest['clients']} clients the service answers "
                f"{_ratio(ratios['throughput'])} times as many requests a second (median, lowest and highest of "
                f"{len(contest['rounds'])} turns). At {contest['rate']:.1f} requests a second, its p95 is "
                f"{_ratio(ratios['p95'])} times that of {name}."
            )


def _loop_conclusions(loop: Record) -> Iterator[str]:
    """Yields what the event loop costs, in comparison with a plain FastAPI POST."""
    measured = [each["cpu"]["slimseq"]["loop_cpu_ms"] or 0 for each in loop["rounds"]]
    yield (
        f"For {loop['clients']} clients the event loop's thread takes {median(measured or [0]):.2f} ms of CPU time "
        f"a request, {_ratio(loop['ratios']['plain POST']['cpu'])} times that of a plain FastAPI POST with a "
        "pydantic body."
    )
    # Older records lack `beside`, and it has None where the CPU time is not known.
    beside = loop.get("beside", [None])
    if all(beside):
        of_service, of_post = beside
        yield (
            f"Beside the same load, where its code is not in the cores' caches either, such a POST takes "
            f"{of_post:.2f} ms: the service takes {of_service / of_post:.2f} times that."
        )


def _mix_conclusions(rounds: Sequence[Record]) -> Iterator[str]:
    """Yields what short requests and a stream get alone, and beside clients that send documents."""
    # The median gap between tokens alone, in each round.
    usual_gaps = [each["alone"]["gaps_ms"][0] for each in rounds]
    for load, company in (("alone", "alone"), ("slimseq", "beside clients that send documents")):
        p50, p95, documents = (median(each[load][name] or 0 for each in rounds) for name in MIX_FIGURES)
        # The p50, p95 and longest gap, each of all rounds.
        gaps = list(zip(*(each[load]["gaps_ms"] for each in rounds), strict=True))
        gap_p50, gap_p95, longest_gap = (median(gap or 0 for gap in each) for each in gaps)
        times = [str(ratio(list(zip(each, usual_gaps, strict=True))) or "-") for each in gaps]
        yield (
            f"Short requests {company}: p50 {p50:.0f} ms, p95 {p95:.0f} ms, {documents:.1f} documents a second; "
            f"tokens of a stream every {gap_p50:.1f} ms, p95 {gap_p95:.1f}, at most {longest_gap:.1f}: "
            f"{times[0]}, {times[1]} and {times[2]} times the usual gap alone."
        )


def _ratio(ratio: Record | None) -> str:
    return str(Ratio(**ratio)) if ratio else "-"


def main(arguments: Sequence[str] | None = None) -> None:
    # As in the service's process, so that its runtime has the same memory in this one.
    bound_heaps()
    parser = make_parser("serving", __doc__)
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default="quantized")
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=["ctranslate2", "slimseq"])
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS, help="that wait for their answers")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=5, help="how often servers are compared")
    parser.add_argument("--share", type=float, default=0.8, help="of the first server's capacity that arrives")
    parser.add_argument("--tokens", nargs=2, type=int, default=(0, 0), help="forced lengths of short and long outputs")
    parser.add_argument("--beams", type=int, help="the variant's own by default")
    parser.add_argument("--threads", type=int, default=0, help="of each server; all cores by default")
    parser.add_argument("--facts", action="store_true", help="sentences with numbers, dates and addresses")
    parser.add_argument("--mix", type=int, default=0, help="clients that send documents beside short requests")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
