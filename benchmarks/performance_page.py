"""`python -m benchmarks.performance_page`: docs/performance.md, made of what the other benchmarks wrote as JSON.

Every figure on the page is one of the files', and every ratio is of two figures of one run, whose systems took turns.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest import Ratio
from benchmarks.figures import number
from benchmarks.markdown import table, taken_on
from benchmarks.step_profile import Profile, lines_of
from benchmarks.workload import beams_in_words
from slimseq.models_store.files import write_text

PAGE = Path("docs/performance.md")
OURS = "slimseq-"
COMPARED = ("optimum-int8", "ctranslate2-int8", "transformers-fp32")
HEAD = """# Performance

How fast Slimseq generates and serves beside what one would use instead, on one machine, in runs whose systems took
turns. This page is written by `python -m benchmarks.performance_page`; the commands that measured are named where
their figures stand.
"""

BYTES_OF_MEBIBYTE = 2**20
Found = dict[str, Any]


def page(
    peers: Sequence[Found] = (),
    serving: Sequence[Found] = (),
    residency: Sequence[Found] = (),
    profiles: Sequence[Found] = (),
    plots: Sequence[Path] = (),
) -> str:
    """Returns the page as Markdown.

    Args:
        peers: what `benchmarks.peers --json` wrote, one or several times.
        serving: what `benchmarks.serving --json` wrote.
        residency: what `benchmarks.residency --json` wrote.
        profiles: what `benchmarks.step_profile --json` wrote.
        plots: what `benchmarks.serving --plot` drew, relative to the page.
    """
    lines = [HEAD]
    if peers:
        lines += ["## Generation in process", ""]
    for each in peers:
        lines += [*_peers(each), ""]
    if profiles:
        lines += ["## Where a step's time goes", ""]
    for each in profiles:
        lines += [*_profile(each), ""]
    for each in serving:
        lines += [*_serving(each), ""]
    for path in plots:
        lines += [f"![Tokens a second and p95 by clients: {path.stem}]({path})", ""]
    for each in residency:
        lines += [*_residency(each), ""]
    return "\n".join(lines).rstrip() + "\n"


def _peers(found: Found) -> Iterator[str]:
    settings = found["settings"]
    yield (
        f"`python -m benchmarks.peers`, {settings['threads']} threads, {settings['new_tokens']} tokens out; random "
        f"models read {settings['input_tokens']} tokens. The faster layout of each system; output tokens a second, by "
        "medians."
    )
    yield from ("", taken_on(found), "")
    rows = found["rows"]
    for model, beams in dict.fromkeys((row["model"], row["beams"]) for row in rows):
        own = [row for row in rows if (row["model"], row["beams"]) == (model, beams)]
        batches = sorted({row["batch"] for row in own})
        yield f"### {model}, {beams_in_words(beams)}"
        yield ""
        yield from table(
            ("system", *(f"batch {batch}" for batch in batches), "first token, ms", "peak MB"),
            [_system(name, own, batches) for name in dict.fromkeys(row["system"] for row in own)],
        )
        yield ""
        ratios = [_ratio(name, own, batches) for name in COMPARED if any(row["system"] == name for row in own)]
        yield from table(("Slimseq, times as fast as", *(f"batch {batch}" for batch in batches)), ratios)
        yield ""
    for name, reason in found["left_out"].items():
        yield f"{name} is left out: {reason}"


def _system(name: str, rows: Sequence[Found], batches: Sequence[int]) -> list[str]:
    by_batch = {row["batch"]: row for row in rows if row["system"] == name}
    speeds = [f"{by_batch[batch]['tokens_per_second']:,.0f}" if batch in by_batch else "-" for batch in batches]
    first, last = by_batch[min(by_batch)], by_batch[max(by_batch)]
    return [name, *speeds, f"{first['first_token_ms']:.1f}", f"{last['peak_bytes'] / 1e6:,.0f}"]


def _ratio(other: str, rows: Sequence[Found], batches: Sequence[int]) -> list[str]:
    """Returns how many times as fast our own engine and our fastest runtime of the same type are."""
    kind = other.rpartition("-")[2]
    cells = []
    for batch in batches:
        speeds = {row["system"]: row["tokens_per_second"] for row in rows if row["batch"] == batch}
        ours = {name: speed for name, speed in speeds.items() if name.startswith(OURS) and name.endswith(kind)}
        engine = ours.get(f"{OURS}onnxruntime-{kind}")
        if other not in speeds or engine is None:
            cells.append("-")
            continue
        cells.append(f"{engine / speeds[other]:.2f} (auto {max(ours.values()) / speeds[other]:.2f})")
    return [other, *cells]


def _serving(found: Found) -> Iterator[str]:
    options = found["settings"]["options"]
    search = beams_in_words(options["num_beams"], ends_early=options["early_stopping"])
    yield f"## {_title(found)}: {found['task']}/{found['variant']}, {search}"
    yield ""
    yield (
        f"`python -m benchmarks.serving`, {found['settings']['seconds']:g} s a load, {found['settings']['threads']} "
        f"cores for load and server; {_ends(*found['settings']['tokens'])}."
    )
    yield from ("", taken_on(found), "")
    if found["servers"]:
        yield from table(
            ("server", "load", "requests/s", "tokens/s", "p50 ms", "p95 ms", "errors"),
            [_load(server["name"], load) for server in found["servers"] for load in server["loads"]],
        )
        yield ""
    yield from (f"- {line}" for line in _conclusions(found))
    for name, reason in found["left_out"].items():
        yield f"- {name} is left out: {reason}"


def _ends(short: int, long: int) -> str:
    if short and long:
        return f"answers of {short} and {long} tokens, the same for all servers"
    if short or long:
        return f"half of the answers end themselves, the others have {short or long} tokens"
    return "answers end themselves"


def _title(found: Found) -> str:
    if found["soak"]:
        return "The service under load for long"
    return "Short answers beside long ones" if found["mix"] else "The service under load"


def _load(name: str, load: Found) -> list[str]:
    figures = load["figures"]
    amount = load["amount"]
    words = (
        f"{amount:.0f} client{'s' if amount != 1 else ''}"
        if load["kind"] == "closed"
        else f"{amount:.1f} arrive a second"
    )
    return [
        name,
        words,
        f"{figures['requests_per_second']:.1f}",
        f"{figures['tokens_per_second']:,.0f}",
        number(figures["p50_ms"], 0),
        number(figures["p95_ms"], 0),
        str(figures["errors"]),
    ]


def _conclusions(found: Found) -> Iterator[str]:
    by_name = {server["name"]: server for server in found["servers"]}
    service = by_name.pop("slimseq", None)
    if (inside := found["in_process"]) and (beside := found["beside"]):
        yield _in_process(inside, beside)
    if service is not None:
        for name, other in by_name.items():
            yield f"{name}: {other['description']}.{_lengths(found, service, other)}"
            yield from _beside(found.get("contest"), name)
    for mixed in found["mix"]:
        yield (
            f"{mixed['name']}: p95 of short answers is {number(mixed['alone']['p95_ms'], 0)} ms alone and "
            f"{number(mixed['beside']['p95_ms'], 0)} ms beside long ones."
        )
    if soak := found["soak"]:
        yield (
            f"Soak, {soak['rate']:.1f} requests a second for {len(soak['p95_ms'])} minutes: the last minute's p95 is "
            f"{number(soak['p95_ratio'], 2)} of the second's, its resident bytes {number(soak['resident_ratio'], 2)} "
            f"(medians), {soak['errors']} errors."
        )


def _lengths(found: Found, service: Found, other: Found) -> str:
    """Returns how long answers are that end themselves: servers that end a search otherwise do other work."""
    ours, theirs = _answer_tokens(service), _answer_tokens(other)
    if any(found["settings"]["tokens"]) or not ours or not theirs:
        return ""
    return f" Its answers have {theirs:.0f} tokens, the service's {ours:.0f}."


def _answer_tokens(server: Found) -> float:
    """Returns a server's tokens an answer to clients who wait; 0 where there was no such load."""
    figures = [load["figures"] for load in server["loads"] if load["kind"] == "closed"]
    answered = sum(each["requests_per_second"] for each in figures)
    return sum(each["tokens_per_second"] for each in figures) / answered if answered else 0.0


def _in_process(inside: Found, beside: Found) -> str:
    """Returns how the service stands to its runtime without it."""
    share = beside.get("continuous_share")
    of_engines = f", {number(share, 2)} of what its engines make alone with as many in flight" if share else ""
    return (
        f"{inside['runtime']} in process makes {inside['tokens_per_second']:,.0f} tokens/s in batches of "
        f"{inside['batch']}, {inside['layout']['workers']} parts of them at a time. By the median of "
        f"{len(beside['turns'])} turns, the service makes {number(beside['share'], 2)} of that for "
        f"{beside['clients']} clients{of_engines}, and adds {number(beside['overhead_ms'], 2)} ms to a single request "
        f"of {beside['single_p50_ms']:.1f} ms in a layout like its own (threads {beside['layout']['threads']}; the "
        f"fastest, threads {inside['single_layout']['threads']}, takes {inside['single_p50_ms']:.1f} ms)."
    )


def _beside(contest: Found | None, name: str) -> Iterator[str]:
    """Yields how the service stands to another server, of which both took turns."""
    if not contest or name not in contest["ratios"]:
        return
    ratios, rounds = contest["ratios"][name], len(contest["rounds"])
    if throughput := ratios["throughput"]:
        yield (
            f"For {contest['clients']} clients the service gives {Ratio(**throughput)} times the answers a second of "
            f"{name} (median, least and most of {rounds} turns)."
        )
    if p95 := ratios["p95"]:
        yield f"Where {contest['rate']:.1f} requests arrive a second, its p95 is {Ratio(**p95)} of that of {name}."


def _profile(found: Found) -> Iterator[str]:
    beams = found["beams"]
    yield (
        f"`python -m benchmarks.step_profile {found['task']} {found['variant']}`: inputs of the bundled sample that "
        f"begin together, {beams_in_words(beams)}, {found['new_tokens']} tokens out, one "
        "thread; microseconds. Operators are timed by ONNX Runtime's profiler, which takes a part of each."
    )
    yield from ("", taken_on(found), "")
    profiles = [Profile(**each) for each in found["profiles"]]
    heads = [f"{each.inputs} input{'s' if each.inputs > 1 else ''}" for each in profiles]
    yield from table(("", *heads), [[name, *values] for name, values in lines_of(profiles)])


def _residency(found: Found) -> Iterator[str]:
    yield "## Memory as variants come and go"
    yield ""
    yield "`python -m benchmarks.residency`: resident bytes of the service's process after each."
    yield from ("", taken_on(found), "")
    yield from table(
        ("what was done", "seconds", "resident MiB"),
        [
            [state["done"], f"{state['seconds']:.2f}", f"{state['resident_bytes'] / BYTES_OF_MEBIBYTE:.0f}"]
            for state in found["states"]
        ],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance_page", description=__doc__)
    sources = ("peers", "serving", "residency", "profiles", "plots")
    made_by = ("peers --json", "serving --json", "residency --json", "step_profile --json", "serving --plot")
    for name, command in zip(sources, made_by, strict=True):
        parser.add_argument(f"--{name}", nargs="*", type=Path, default=[], metavar="FILE", help=f"of `{command}`")
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    try:
        peers, serving, residency, profiles = (
            [json.loads(path.read_text(encoding="utf-8")) for path in paths]
            for paths in (given.peers, given.serving, given.residency, given.profiles)
        )
        plots = [path.resolve().relative_to(given.out.resolve().parent) for path in given.plots]
        write_text(given.out, page(peers, serving, residency, profiles, plots))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
