"""What all benchmark commands share: options, records of measurements, tables of them, and how a command ends.

A command calls `run` with two functions: `measure` makes a record, and `lines` turns the record into Markdown.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from slimseq.compression.context import library_versions
from slimseq.evaluation.host import cpu_flags, host_name
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_text
from slimseq.models_store.places import embedded_store

Record = dict[str, Any]
MILLISECONDS = 1000.0


class BenchmarkFailed(SlimseqError):
    """Something that is measured cannot be made, does not start or does not answer."""


def record(**measured: Any) -> Record:
    """Returns a record of measurements that begins with the machine, the libraries and the time."""
    return {
        "host": host_name(),
        "cpu_flags": cpu_flags(),
        "versions": library_versions() | peer_versions(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **measured,
    }


def peer_versions() -> dict[str, str]:
    """Returns the versions of the installed libraries that only benchmarks measure."""
    versions = {}
    for name in ("fastapi", "uvicorn", "openvino", "optimum-intel"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def make_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--store", type=Path, default=embedded_store(), help="artifacts; the embedded ones by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the record is written")
    return parser


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace, Path], Record],
    lines: Callable[[Record], Iterable[str]],
) -> None:
    """Runs a command. One line says which error of ours ended it.

    Args:
        parser: reads the options.
        arguments: of the command line; None takes the process's.
        measure: gets the options and a temporary folder, and returns the record.
        lines: returns the record as lines of Markdown.
    """
    given = parser.parse_args(arguments)
    # SIGTERM raises an exception, so that the `with` blocks stop the processes that the command has started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="slimseq-benchmark-") as scratch:
            # `lines` gets the record as it is read from JSON, in which dataclasses are objects. So it works with
            # records in files as well.
            text = json.dumps(measure(given, Path(scratch)), indent=2, default=vars) + "\n"
        if given.json:
            write_text(given.json, text)
    except (SlimseqError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.stdout.write("\n".join(lines(json.loads(text))).rstrip() + "\n")


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


@contextmanager
def leaving_out(found: Record, name: str) -> Iterator[None]:
    """Suppresses an error of the block, and notes it in the record as `left_out[name]`."""
    try:
        yield
    except (SlimseqError, OSError) as error:
        found["left_out"][name] = str(error)
        say(f"{name} is left out: {error}")


def left_out_lines(found: Record) -> Iterator[str]:
    """Yields a line for each error that `leaving_out` noted."""
    yield from (f"{name} is left out: {reason}" for name, reason in found["left_out"].items())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of a table whose first column has words and whose other columns have figures."""
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def measured_on(found: Record) -> str:
    """Returns the machine, the date and the library versions of a record, for the foot of a table."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{found['host']} ({' '.join(found['cpu_flags'])}), {found['measured_at'][:10]}; {versions}."


def search_name(num_beams: int) -> str:
    return "greedy" if num_beams == 1 else f"{num_beams} beams"
