"""`python -m benchmarks.pages`: makes `docs/performance.md` anew from the records in `benchmarks/results/`.

A record is what `peers`, `serving` or `request_time` wrote with `--json`. Each machine has a folder of records. The
page has a row for each model and search; the records hold more. Records in a machine's folder `dated` are kept, and are
not on the page.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import Record, search_name, table
from benchmarks.loads.turns import Ratio
from benchmarks.request_time import head as head_of_steps
from benchmarks.request_time import step_rows
from slimseq.evaluation.host import VNNI_FLAGS
from slimseq.models_store.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = "performance.md"
# How the introduction, which lies with the results, links to a page of the docs.
FROM_RESULTS = "](../../docs/"
ENGINE = "slimseq-onnxruntime-int8"
# The column of each peer, and its name in records.
PEERS = {"CTranslate2": "ctranslate2-int8", "optimum": "optimum-int8", "transformers": "transformers-fp32"}
PROCESS_HEAD = ("model, search", "tokens/s", *(f"over {name}" for name in PEERS), "first token, ms", "peak MB")
# What a column has where a system was not measured.
ABSENT = "-"
# Libraries whose versions change the figures of a table.
LIBRARIES = ("onnxruntime", "ctranslate2", "optimum", "transformers", "torch")
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
    answers = [f"of {short} and {long} tokens" if short else "of any length"]
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
    yield from _tables("## Generation in process", PROCESS_HEAD, [each for each in records if "rows" in each])
    yield from _tables("## The service under load", SERVICE_HEAD, [each for each in records if "servers" in each])
    for found in [each for each in records if "requests" in each]:
        yield from ("", "## Where the time of a small request goes", "", _machine(found), "")
        yield from table(head_of_steps(found["requests"]), step_rows(found["requests"]))


def _tables(title: str, head: Sequence[str], records: Sequence[Record]) -> Iterator[str]:
    """Yields a table for each machine and set of library versions."""
    yield from ("", title)
    by_machine: dict[str, list[list[str]]] = {}
    for found in records:
        rows = list(in_process_rows(found) if "rows" in found else service_rows(found))
        by_machine.setdefault(_machine(found), []).extend(rows)
    for machine, rows in by_machine.items():
        yield from ("", machine, "")
        yield from table(*_without_empty_columns(head, rows))


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
