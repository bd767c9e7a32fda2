"""Runs the real command line in a process of its own, as a user would."""

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from slimseq.compression.cli import run
from slimseq.models_store.places import embedded_store


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def compression(*arguments: object, **environment: str) -> Finished:
    """Runs `slimseq` with these arguments and additional environment variables.

    It works on the embedded models where no store is named.
    """
    return _run([sys.executable, "-m", "slimseq", *map(str, arguments)], environment)


def invoked(*arguments: object) -> Finished:
    """Runs the command line in this process: faster, and without the service's verb."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        try:
            run(list(map(str, arguments)))
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Finished(code, out.getvalue(), error.getvalue())


def compression_in(folder: Path, *arguments: object) -> Finished:
    """Runs it in another folder, as a user who names no store."""
    outside = {"SLIMSEQ_STORE": ""}
    return _run([sys.executable, "-m", "slimseq", *map(str, arguments)], outside, folder)


def compression_without_room(greatest_file: int, *arguments: object) -> Finished:
    """Runs it where no file can become larger than so many bytes: what a full disk does, without filling one."""
    return _run(["prlimit", f"--fsize={greatest_file}", sys.executable, "-m", "slimseq", *map(str, arguments)], {})


def _run(command: list[str], environment: dict[str, str], folder: Path | None = None) -> Finished:
    variables = os.environ | {"SLIMSEQ_STORE": str(embedded_store())} | environment
    done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    return Finished(done.returncode, done.stdout, done.stderr)
