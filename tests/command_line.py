"""Runs the real command line in a process of its own, as a user would."""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from slimseq.cli.main import run
from slimseq.models_store.places import embedded_store
from tests.forking import start

TIMEOUT_SECONDS = 600


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
    return _run(arguments, environment)


def invoked(*arguments: object) -> Finished:
    """Runs the command line in this process, which is faster."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        try:
            run(list(map(str, arguments)))
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Finished(code, out.getvalue(), error.getvalue())


def compression_in(folder: Path, *arguments: object, **environment: str) -> Finished:
    """Runs it in another folder, as a user who names no store."""
    return _run(arguments, {"SLIMSEQ_STORE": "", **environment}, folder)


def compression_without_room(greatest_file: int, *arguments: object) -> Finished:
    """Runs it where no file can become larger than so many bytes: what a full disk does, without filling one."""
    return _run(arguments, {}, greatest_file=greatest_file)


def _run(
    arguments: Sequence[object],
    environment: dict[str, str],
    folder: Path | None = None,
    greatest_file: int | None = None,
) -> Finished:
    words = ["slimseq", *map(str, arguments)]
    variables = os.environ | {"SLIMSEQ_STORE": str(embedded_store())} | environment
    with tempfile.TemporaryDirectory() as written:
        out, error = Path(written, "out"), Path(written, "error")
        process = start(words, variables, out, error, folder, greatest_file)
        try:
            code = process.wait(TIMEOUT_SECONDS)
        finally:
            process.kill()
        return Finished(code, out.read_text(encoding="utf-8"), error.read_text(encoding="utf-8"))
