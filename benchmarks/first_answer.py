"""`python -m benchmarks.first_answer`: how long a fresh clone takes from `make run` to its first answer.

The repository's last commit is cloned into a temporary folder, `make run` is called there as the README says it, and
`/translate` is asked until it answers. Then the service is stopped and started again, which is what every later start
takes. Packages come from wherever pip finds them; the seconds of the first start depend on that.
"""

import argparse
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, parser_of, record, run
from benchmarks.load import Client
from benchmarks.servers.process import POLL_SECONDS, STOP_SECONDS, free_port

ROOT = Path(__file__).parents[1]
TEXT = "The children are playing in the garden."


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures both starts.

    Raises:
        BenchmarkFailed: there was no answer in time.
    """
    clone = scratch / "slimseq"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    starts = {}
    for name in ("first", "next"):
        port, started = free_port(), time.monotonic()
        command = ["make", "run", f"PORT={port}"]
        process = subprocess.Popen(command, cwd=clone, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            text = first_answer(Client(port), started + given.limit_seconds)
            starts[name] = {"seconds": time.monotonic() - started, "text": text}
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_SECONDS)
    return record(starts=starts)


def first_answer(client: Client, deadline: float) -> str:
    """Asks until there is an answer; returns the translation.

    Raises:
        BenchmarkFailed: there was none in time.
    """
    while True:
        try:
            return str(client.call("POST", "/translate", {"text": TEXT})["outputs"][0]["text"])
        except BenchmarkFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def lines(found: Record) -> Iterator[str]:
    """Yields a line a start."""
    for name, start in found["starts"].items():
        yield f"{name} start: {start['seconds']:.1f} s to “{start['text']}”  ({found['host']})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("first_answer", __doc__)
    parser.add_argument("--limit-seconds", type=float, default=600, help="after which a start has failed [600]")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
