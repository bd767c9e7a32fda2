"""Runs the command `slimseq` for tests: in a process of its own, as a user does, or with `invoked` in this process."""

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

# A command that trains or exports takes minutes on a busy machine.
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

    Where the arguments name no store, the command works on the embedded models.
    """
    return _run(arguments, environment)


def invoked(*arguments: object) -> Finished:
    """Runs `slimseq` in this process. That is faster, but libraries and signal handlers stay as the tests have them."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        try:
            run(list(map(str, arguments)))
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Finished(code, out.getvalue(), error.getvalue())


def compression_in(folder: Path, *arguments: object, **environment: str) -> Finished:
    """Runs `slimseq` in a folder, as a user does who names no store: `./artifacts` is the default."""
    return _run(arguments, {"SLIMSEQ_STORE": "", **environment}, folder)


def compression_without_room(greatest_file: int, *arguments: object) -> Finished:
    """Runs `slimseq` where no file can have more bytes than `greatest_file`. Writes fail as on a full disk."""
    return _run(arguments, {}, greatest_file=greatest_file)


def _run(
    arguments: Sequence[object],
    environment: dict[str, str],
    folder: Path | None = None,
    greatest_file: int | None = None,
) -> Finished:
    words = ["slimseq", *map(str, arguments)]
    variables = os.environ | {"SLIMSEQ_STORE": str(embedded_store())} | environment
    with tempfile.TemporaryDirectory() as output_folder:
        out, error = Path(output_folder, "out"), Path(output_folder, "error")
        process = start(words, variables, out, error, folder, greatest_file)
        try:
            code = process.wait(TIMEOUT_SECONDS)
        finally:
            process.kill()
        return Finished(code, out.read_text(encoding="utf-8"), error.read_text(encoding="utf-8"))
