"""The record of `benchmarks.serving` as Markdown."""

from collections.abc import Iterator
from statistics import median

from benchmarks.command import Record, measured_on, number, search_name, table
from benchmarks.loads.turns import Ratio


def lines(found: Record) -> Iterator[str]:
    """Yields the section of a record."""
    settings = found["settings"]
    search = search_name(settings["options"]["num_beams"], settings["options"]["early_stopping"])
    yield from (f"## The service under load: {found['task']}/{found['variant']}, {search}", "")
    yield (
        f"`python -m benchmarks.serving`, {settings['seconds']:g} s a load, {settings['threads']} "
        f"cores for load and server; {_lengths(*settings['tokens'])}"
        f"{'; sentences with numbers, dates and addresses' if settings.get('facts') else ''}."
    )
    yield from ("", measured_on(found), "")
    if found["servers"]:
        head = ("server", "load", "requests/s", "tokens/s", "p50 ms", "p95 ms", "errors")
        yield from table(head, [_load(each["name"], load) for each in found["servers"] for load in each["loads"]])
        yield ""
    yield from (f"- {line}" for line in _conclusions(found))
    yield from (f"- {name} is left out: {reason}" for name, reason in found["left_out"].items())


def _lengths(short: int, long: int) -> str:
    if short and long:
        return f"answers of {short} and {long} tokens, the same for all servers"
    if short or long:
        return f"half of the answers end themselves, the others have {short or long} tokens"
    return "answers end themselves"


def _load(name: str, load: Record) -> list[str]:
    figures, amount = load["figures"], load["amount"]
    clients = f"{amount:.0f} client{'s' if amount != 1 else ''}"
    return [
        name,
        clients if load["kind"] == "closed" else f"{amount:.1f} arrive a second",
        f"{figures['requests_per_second']:.1f}",
        f"{figures['tokens_per_second']:,.0f}",
        number(figures["p50_ms"], 0),
        number(figures["p95_ms"], 0),
        str(figures["errors"]),
    ]


def _conclusions(found: Record) -> Iterator[str]:
    others = {server["name"]: server for server in found["servers"]}
    service = others.pop("slimseq", None)
    if runtime := found.get("runtime"):
        ratios = runtime["ratios"]["in process"]
        yield (
            f"In turns with its runtime in process, the service gives {_ratio(ratios['throughput'])} times its answers "
            f"a second for {runtime['clients']} clients, and takes {_ratio(ratios['p50'])} times as long for one."
        )
    if loop := found.get("loop"):
        measured = [each["cpu"]["slimseq"]["loop_cpu_ms"] for each in loop["rounds"]]
        yield (
            f"For {loop['clients']} clients the event loop's thread takes "
            f"{number(median(measured) if measured and all(measured) else None, 2)} ms of CPU time a request, "
            f"{_ratio(loop['ratios']['plain POST']['cpu'])} times that of a plain FastAPI POST with a pydantic body."
        )
    for name, other in others.items() if service else ():
        yield f"{name}: {other['description']}.{_mean_lengths(found, service, other)}"
        ratios = (found.get("contest") or {"ratios": {}})["ratios"].get(name, {})
        if ratios.get("throughput"):
            yield (
                f"For {found['contest']['clients']} clients the service gives {_ratio(ratios['throughput'])} times the "
                f"answers a second of {name} (median, least and most of {len(found['contest']['rounds'])} turns)."
            )
        if ratios.get("p95"):
            rate = found["contest"]["rate"]
            yield f"Where {rate:.1f} requests arrive a second, its p95 is {_ratio(ratios['p95'])} of that of {name}."


def _ratio(ratio: Record | None) -> str:
    return str(Ratio(**ratio)) if ratio else "-"


def _mean_lengths(found: Record, service: Record, other: Record) -> str:
    """Returns the lengths of answers that end themselves: servers that end a search otherwise do other work."""
    ours, theirs = _answer_tokens(service), _answer_tokens(other)
    if any(found["settings"]["tokens"]) or not ours or not theirs:
        return ""
    return f" Its answers have {theirs:.0f} tokens, the service's {ours:.0f}."


def _answer_tokens(server: Record) -> float:
    """Returns the tokens of an answer to clients that wait; 0 if there was no such load."""
    figures = [load["figures"] for load in server["loads"] if load["kind"] == "closed"]
    answered = sum(each["requests_per_second"] for each in figures)
    return sum(each["tokens_per_second"] for each in figures) / answered if answered else 0.0
