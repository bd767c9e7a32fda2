"""Shows what `benchmarks.serving` found: tables for the terminal, and a plot of throughput and latency."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import number
from benchmarks.mix import Mixed
from benchmarks.serving_results import Results
from benchmarks.soak import Soak

DOTS_PER_INCH = 120


def show(results: Results, console: Console) -> None:
    """Prints the results."""
    if results.servers:
        console.print(load_table(results))
    if results.mix:
        console.print(mix_table(results.mix))
    if results.soak and results.soak.p95_ms:
        console.print(soak_table(results.soak))
    for line in lines(results):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def load_table(results: Results) -> Table:
    """Returns one row a server and load."""
    title = f"{results.task}/{results.variant}"
    shown = Table("server", "load", "requests/s", "tokens/s", "p50 ms", "p95 ms", "p99 ms", "errors", title=title)
    for server in results.servers:
        for load in server.loads:
            found = load.figures
            shown.add_row(
                server.name,
                load.words,
                f"{found.requests_per_second:.1f}",
                f"{found.tokens_per_second:,.0f}",
                *(number(value, 1) for value in (found.p50_ms, found.p95_ms, found.p99_ms)),
                f"{found.errors} of {found.answered + found.errors}",
            )
        shown.add_section()
    return shown


def mix_table(mix: list[Mixed]) -> Table:
    """Returns one row a server, for short texts with and without long ones beside them."""
    shown = Table(
        "server", "short p95 ms alone", "beside long ones", "times", "long p95 ms", "errors", title="short beside long"
    )
    for each in mix:
        shown.add_row(
            each.name,
            number(each.alone.p95_ms, 1),
            number(each.beside.p95_ms, 1),
            number(each.p95_ratio, 2),
            number(each.long.p95_ms, 1),
            str(each.alone.errors + each.beside.errors + each.long.errors),
        )
    return shown


def soak_table(soak: Soak) -> Table:
    """Returns one row a minute."""
    shown = Table("minute", "p95 ms", title=f"slimseq, {soak.rate:.1f} requests a second")
    for minute, value in enumerate(soak.p95_ms, start=1):
        shown.add_row(str(minute), number(value, 1))
    return shown


def lines(results: Results) -> Iterator[str]:
    """Yields the figures that are no rows of a table, and what all were taken on."""
    if contest := results.contest:
        for other, ratios in contest.ratios("slimseq").items():
            yield (
                f"in turns with {other}: {ratios['throughput'] or '-'} of its answers a second for {contest.clients} "
                f"clients; p95 {ratios['p95'] or '-'} of its where {contest.rate:.1f} requests arrive a second"
            )
    found = results.in_process
    if found and results.beside:
        beside = results.beside
        yield (
            f"in turns with {found.runtime} in process (batches of {found.batch} on {found.layout.workers} workers), "
            f"the service makes {number(beside.share, 2)} of its tokens a second for {beside.clients} clients, "
            f"{number(beside.continuous_share, 2)} of those of its engines alone with as many in flight, "
            f"and adds {number(beside.overhead_ms, 2)} ms to a single request"
        )
    if results.soak:
        soak = results.soak
        yield (
            f"soak: last minute's p95 {number(soak.p95_ratio, 2)} of the second's, resident bytes "
            f"{number(soak.resident_ratio, 3)} of the second's, {soak.errors} errors"
        )
    for server in results.servers:
        first = next((load.figures.first_error for load in server.loads if load.figures.first_error), None)
        yield f"{server.name}: {server.description}" + (f"; its first error: {first}" if first else "")
    for mixed in results.mix:
        first = next(
            (e for e in (mixed.alone.first_error, mixed.beside.first_error, mixed.long.first_error) if e), None
        )
        yield f"{mixed.name}: {mixed.description}" + (f"; its first error: {first}" if first else "")
    for name, reason in results.left_out.items():
        yield f"{name} is left out: {reason}"
    yield f"{results.host} ({' '.join(results.cpu_flags)}); load and servers on the same machine"
    yield ", ".join(f"{name} {version}" for name, version in results.versions.items())


def draw(results: Results, path: Path) -> None:
    """Draws tokens a second and p95 against the number of clients, a line for each server, into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    throughput, latency = figure.subplots(1, 2)
    ticks: set[float] = set()
    for server in results.servers:
        loads = sorted((load for load in server.loads if load.kind == "closed"), key=lambda load: load.amount)
        clients = [load.amount for load in loads]
        ticks.update(clients)
        throughput.plot(clients, [load.figures.tokens_per_second for load in loads], marker="o", label=server.name)
        latency.plot(clients, [load.figures.p95_ms or float("nan") for load in loads], marker="o", label=server.name)
    if results.in_process:
        throughput.axhline(
            results.in_process.tokens_per_second, linestyle="--", color="gray", label="in process, best batch"
        )
    for axes, label in ((throughput, "output tokens a second"), (latency, "p95 latency, ms")):
        axes.set_xlabel("clients that wait for their answers")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.set_xticks(sorted(ticks))
        if results.servers:
            axes.legend()
    figure.suptitle(f"{results.task}/{results.variant}, {results.host}")
    figure.savefig(path, format="png", dpi=DOTS_PER_INCH)
