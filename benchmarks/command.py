"""How a benchmark command runs: options in, a record out, as Markdown on the terminal and as JSON in a file."""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from slimseq.compression.context import library_versions
from slimseq.evaluation.host import cpu_flags, host_name
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store

Record = dict[str, Any]
SERVING_LIBRARIES = ("fastapi", "uvicorn")
AGAIN_SECONDS = 0.01


class BenchmarkFailed(SlimseqError):
    """Raised when what is to be measured cannot be made, does not start or does not answer. Says why in one line."""


def record(**measured: Any) -> Record:
    """Returns a record of measurements, which begins with the machine, the libraries and the time."""
    return {
        "host": host_name(),
        "cpu_flags": cpu_flags(),
        "versions": library_versions() | {name: version(name) for name in SERVING_LIBRARIES},
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **measured,
    }


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """Returns the parser of `python -m benchmarks.NAME`, with the options that all commands have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--store", type=Path, default=embedded_store(), help="artifacts; the embedded ones by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the record is written")
    return parser


def task_and_variant(text: str) -> tuple[Task, str]:
    """Reads `TASK/VARIANT`."""
    task, _, variant = text.partition("/")
    return Task(task), variant


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace, Path], Record],
    show: Callable[[Record], Iterable[str]],
) -> None:
    """Runs a command; an error of ours ends it with one line.

    Args:
        parser: reads the options.
        arguments: of the command line; None takes the process's.
        measure: gets the options and a scratch folder, and returns the record.
        show: returns the record's lines in Markdown.
    """
    given = parser.parse_args(arguments)
    end_on_termination()
    try:
        with tempfile.TemporaryDirectory(prefix="slimseq-benchmark-") as scratch:
            # As it is read again: records hold dataclasses, whose fields become keys.
            text = json.dumps(measure(given, Path(scratch)), indent=2, default=vars) + "\n"
        if given.json:
            write_text(given.json, text)
    except (SlimseqError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.stdout.write("\n".join(show(json.loads(text))).rstrip() + "\n")


def say(line: str) -> None:
    """Prints a line for the person who watches."""
    sys.stderr.write(line + "\n")


def end_on_termination() -> None:
    """Makes SIGTERM end this process as an interrupt does, so that the processes it started are stopped.

    Python drops what is raised within a finalizer, and an import runs some: the signal is sent again then.
    """
    signal.signal(signal.SIGTERM, _end)
    sys.unraisablehook = _end_again


def _end(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _end_again(dropped: "sys.UnraisableHookArgs") -> None:
    if dropped.exc_type is SystemExit:
        # Not at once: within this hook it would be dropped as well.
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(dropped)
