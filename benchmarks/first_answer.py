"""`python -m benchmarks.first_answer`: how long a fresh clone takes from `make run` to its first answer.

The repository's last commit is cloned into a temporary folder, `make run` is called there as the README says it, and
`/translate` is asked until it answers. Then the service is stopped and started again, which is what every later start
takes. Packages come from wherever pip finds them; the seconds of the first start depend on that.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks.servers.process import free_port
from slimseq.evaluation.host import host_name

ROOT = Path(__file__).parents[1]
BODY = json.dumps({"text": "The children are playing in the garden."}).encode()
POLL_SECONDS = 0.1
STOP_SECONDS = 30


@contextmanager
def running(clone: Path, port: int) -> Iterator[None]:
    """Runs `make run` in a clone until the block ends."""
    process = subprocess.Popen(
        ["make", "run", f"PORT={port}"], cwd=clone, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_SECONDS)


def seconds_to_answer(port: int, limit_seconds: float) -> tuple[float, str]:
    """Asks until there is an answer; returns the seconds since the call, and the translation.

    Raises:
        TimeoutError: there was none in time.
    """
    started = time.monotonic()
    headers = {"Content-Type": "application/json"}
    while time.monotonic() - started < limit_seconds:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/translate", BODY, headers)
            with urllib.request.urlopen(request, timeout=limit_seconds) as answer:
                return time.monotonic() - started, json.load(answer)["outputs"][0]["text"]
        except (urllib.error.URLError, ConnectionError):
            time.sleep(POLL_SECONDS)
    raise TimeoutError(f"no answer within {limit_seconds:g} s")


def main() -> None:
    """Measures and prints both starts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_answer", description=__doc__.split("\n\n")[0])
    parser.add_argument("--limit-seconds", type=float, default=600, help="after which a start has failed [600]")
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="slimseq-clone-") as folder:
        clone = Path(folder) / "slimseq"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for name in ("first", "next"):
            port = free_port()
            with running(clone, port):
                try:
                    seconds, text = seconds_to_answer(port, arguments.limit_seconds)
                except TimeoutError as error:
                    sys.exit(f"error: {error}")
            console.print(f"{name} start: {seconds:.1f} s to “{text}”  ({host_name()})")


if __name__ == "__main__":
    main()
