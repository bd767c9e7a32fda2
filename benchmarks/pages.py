"""`python -m benchmarks.pages`: makes `docs/performance.md` anew from the records in `benchmarks/results/`.

A record is what `peers`, `serving` or `request_time` wrote with `--json`. Each machine has a folder of records. The
page has a row for each model and search, and one for each published shape; the records hold more. What was measured
with answers that end by themselves comes first, and forced lengths are called so. Records in a machine's folder `dated`
are kept, and are not on the page.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.command import Record, left_out_lines, search_name, table
from benchmarks.loads.turns import Ratio
from benchmarks.request_time import head as head_of_steps
from benchmarks.request_time import step_rows
from benchmarks.systems.servers import PLAIN_LACKS
from benchmarks.translators import TRANSLATOR_HEAD, translator_rows
from slimseq.evaluation.host import VNNI_FLAGS
from slimseq.models_store.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = "performance.md"
# How the introduction, which lies with the results, links to a page of the docs.
FROM_RESULTS = "](../../docs/"
ENGINE = "slimseq-onnxruntime-int8"
# The column of each peer, and its name in records.
PEERS = {
    "CTranslate2": "ctranslate2-int8",
    "OpenVINO": "openvino-int8",
    "optimum": "optimum-int8",
    "transformers": "transformers-fp32",
}
PROCESS_HEAD = ("model, search", "tokens/s", *(f"over {name}" for name in PEERS), "first token, ms", "peak MB")
# What a column has where a system was not measured.
ABSENT = "-"
# Libraries whose versions change the figures of a table.
LIBRARIES = ("onnxruntime", "ctranslate2", "openvino", "optimum-intel", "optimum", "transformers", "torch")
# The peers of shapes, whose memory and time to load the table has beside ours.
SHAPE_PEERS = {"CTranslate2": "ctranslate2-int8", "OpenVINO": "openvino-int8"}
SHAPE_SEARCHES = (1, 4)
SHAPE_HEAD = (
    "shape, tokens in → out",
    *(
        f"{figure}, {search_name(beams)}"
        for beams in SHAPE_SEARCHES
        for figure in ("tokens/s", *(f"over {name}" for name in SHAPE_PEERS))
    ),
    "first token, ms",
    "peak MB",
    "load, s",
)
SERVICE_HEAD = ("model, search, answers", "beside", "answers/s", "its answers/s", "times the answers", "times its p95")


def in_process_rows(found: Record) -> Iterator[list[str]]:
    """Yields a row for each model and search of a record of `peers`."""
    for model, beams in dict.fromkeys((row["model"], row["beams"]) for row in found["rows"]):
        by_system: dict[str, dict[int, Record]] = {}
        for row in found["rows"]:
            if (row["model"], row["beams"]) == (model, beams):
                by_system.setdefault(row["system"], {})[row["batch"]] = row
        ours = by_system.get(ENGINE)
        if ours is None:
            continue
        batches = sorted(ours)
        speeds = [f"{ours[batch]['tokens_per_second']:,.0f}" for batch in batches]
        yield [
            f"{model}, {search_name(beams)}",
            " · ".join(speeds),
            *(_times(ours, by_system.get(system, {}), batches) for system in PEERS.values()),
            f"{ours[batches[0]]['first_token_ms']:.1f}",
            f"{ours[batches[-1]]['peak_bytes'] / 1e6:,.0f}",
        ]


def shape_rows(found: Record) -> Iterator[list[str]]:
    """Yields a row for each shape of a record of `peers --shapes`."""
    for model in dict.fromkeys(row["model"] for row in found["rows"]):
        own = [row for row in found["rows"] if row["model"] == model]
        rows = {(row["system"], row["beams"], row["batch"]): row for row in own}
        batches = sorted({row["batch"] for row in own})
        cells = [f"{model}, {own[0]['input_tokens']:.0f} → {own[0]['new_tokens']}"]
        for beams in SHAPE_SEARCHES:
            by_system = {
                system: {batch: rows[system, beams, batch] for batch in batches if (system, beams, batch) in rows}
                for system in (ENGINE, *SHAPE_PEERS.values())
            }
            ours = by_system[ENGINE]
            speeds = [f"{row['tokens_per_second']:,.0f}" for row in ours.values()]
            cells.append(" · ".join(speeds) if ours else ABSENT)
            cells += [_times(ours, by_system[system], list(ours)) for system in SHAPE_PEERS.values()]
        of_systems = [[row for row in own if row["system"] == system] for system in (ENGINE, *SHAPE_PEERS.values())]
        firsts = ([row["first_token_ms"] for row in each if "first_token_ms" in row] for each in of_systems)
        cells.append(_figures([min(each, default=None) for each in firsts], "{:,.0f}"))
        peaks = [max((row["peak_bytes"] / 1e6 for row in each), default=None) for each in of_systems]
        cells.append(_figures(peaks, "{:,.0f}"))
        loads = [max((row["load_seconds"] for row in each), default=None) for each in of_systems]
        cells.append(_figures(loads, "{:.1f}"))
        yield cells


def _figures(figures: Sequence[float | None], form: str) -> str:
    """Returns a figure of each system; None where the system was not measured."""
    return " · ".join(ABSENT if each is None else form.format(each) for each in figures)


def _times(ours: dict[int, Record], theirs: dict[int, Record], batches: Sequence[int]) -> str:
    """Returns for each batch size how many times as fast as another system we are."""
    found = [
        f"{ours[batch]['tokens_per_second'] / theirs[batch]['tokens_per_second']:.2f}" if batch in theirs else ABSENT
        for batch in batches
    ]
    return " · ".join(found) if theirs else ABSENT


def service_rows(found: Record) -> Iterator[list[str]]:
    """Yields a row for each server that stood beside the service in a record of `serving`."""
    settings = found["settings"]
    short, long = settings["tokens"]
    answers = [f"of forced {short} and {long} tokens" if short else "of any length"]
    if settings.get("facts"):
        answers.append("with facts")
    search = search_name(settings["options"]["num_beams"])
    servers = {server["name"]: server for server in found["servers"]}
    contest = found["contest"]
    for name, ratios in contest["ratios"].items():
        yield [
            f"{found['task']}/{found['variant']}, {search}, {' '.join(answers)}",
            name,
            _closed(servers["slimseq"]),
            _closed(servers[name]),
            f"{Ratio(**ratios['throughput'])} with {contest['clients']}",
            str(Ratio(**ratios["p95"])),
        ]


def _closed(server: Record) -> str:
    """Returns the answers a second by the number of clients that wait for their answers."""
    loads = [load for load in server["loads"] if load["kind"] == "closed"]
    return " · ".join(f"{load['figures']['requests_per_second']:.0f} ({load['amount']})" for load in loads)


def page(folder: Path) -> Iterator[str]:
    """Yields the lines of the page, which begins with the file `introduction.md` of a folder of results."""
    introduction = (folder / "introduction.md").read_text(encoding="utf-8")
    yield introduction.replace(FROM_RESULTS, "](").rstrip()
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/*.json"))]
    of_peers = [each for each in records if each.get("rows")]
    of_serving = [each for each in records if "servers" in each]
    free = [each for each in of_serving if not any(each["settings"]["tokens"])]
    shapes = [each for each in of_peers if each["settings"].get("shapes")]
    yield from _tables("## The service under load", SERVICE_HEAD, free, service_rows)
    yield from _tables("## Models that people use, in process, forced lengths", SHAPE_HEAD, shapes, shape_rows)
    translators = [each for each in records if each.get("translators")]
    yield from _tables("## Firefox's translator, on one core", TRANSLATOR_HEAD, translators, translator_rows)
    embedded = [each for each in of_peers if each not in shapes]
    yield from _tables("## Generation in process, forced lengths", PROCESS_HEAD, embedded, in_process_rows)
    forced = [each for each in of_serving if each not in free]
    yield from _tables("## The service under load, forced lengths", SERVICE_HEAD, forced, service_rows)
    for found in [each for each in records if "requests" in each]:
        yield from ("", "## Where the time of a small request goes", "", _machine(found), "")
        yield from table(head_of_steps(found["requests"]), step_rows(found["requests"]))


def _tables(
    title: str, head: Sequence[str], records: Sequence[Record], rows_of: Callable[[Record], Iterator[list[str]]]
) -> Iterator[str]:
    """Yields a table for each machine and set of library versions; nothing, if there is no record."""
    if not records:
        return
    yield from ("", title)
    by_machine: dict[str, list[list[str]]] = {}
    left_out: dict[str, list[str]] = {}
    for found in records:
        by_machine.setdefault(_machine(found), []).extend(rows_of(found))
        # What a record of `serving` leaves out may be a measurement that the page does not show.
        if "rows" in found:
            left_out.setdefault(_machine(found), []).extend(f"- {line}" for line in left_out_lines(found))
    for machine, rows in by_machine.items():
        yield from ("", machine, "")
        yield from table(*_without_empty_columns(head, rows))
        lines = left_out.get(machine)
        if lines:
            yield from ("", *lines)
        if any("plain" in row for row in rows):
            yield from ("", f"`plain` is twelve lines: {PLAIN_LACKS}.")


def _machine(found: Record) -> str:
    """Says where and when a record was measured: what its CPU has for int8, and the libraries that decide its speed."""
    flags = " ".join(flag for flag in found["cpu_flags"] if flag in VNNI_FLAGS)
    versions = ", ".join(f"{name} {found['versions'][name]}" for name in LIBRARIES if name in found["versions"])
    return f"{found['host']} ({flags}), {found['measured_at'][:10]}; {versions}."


def _without_empty_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Leaves out the columns of systems that no row was measured beside."""
    kept = [column for column in range(len(head)) if any(row[column] != ABSENT for row in rows)]
    return [head[column] for column in kept], [[row[column] for column in kept] for row in rows]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folders of results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page goes")
    given = parser.parse_args(arguments)
    write_text(given.docs / PAGE, "\n".join(page(given.results)) + "\n")


if __name__ == "__main__":
    main()
