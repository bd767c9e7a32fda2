"""Runs the real command line in a process of its own, as a user would."""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from slimseq.cli.main import main
from slimseq.compression.cli import run
from slimseq.models_store.places import embedded_store

TIMEOUT_SECONDS = 600
# Processes begin as copies of one that has imported what takes most commands seconds.
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(
    ["slimseq.compression.train", "transformers.models.bart.modeling_bart", "transformers.models.t5.modeling_t5"]
)


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
    # huggingface_hub reads its variables when it is imported.
    if any(name.startswith("HF_") for name in environment):
        return _run([sys.executable, "-m", "slimseq", *map(str, arguments)], environment)
    return _forked(arguments, environment)


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
    return _forked(arguments, {"SLIMSEQ_STORE": ""}, folder)


def compression_without_room(greatest_file: int, *arguments: object) -> Finished:
    """Runs it where no file can become larger than so many bytes: what a full disk does, without filling one."""
    return _run(["prlimit", f"--fsize={greatest_file}", sys.executable, "-m", "slimseq", *map(str, arguments)], {})


def _variables(environment: dict[str, str]) -> dict[str, str]:
    return os.environ | {"SLIMSEQ_STORE": str(embedded_store())} | environment


def _run(command: Sequence[str], environment: dict[str, str]) -> Finished:
    variables = _variables(environment)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    return Finished(done.returncode, done.stdout, done.stderr)


def _forked(arguments: Sequence[object], environment: dict[str, str], folder: Path | None = None) -> Finished:
    words = ["slimseq", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as written:
        out, error = Path(written, "out"), Path(written, "error")
        process = FORKING.Process(
            target=_command, args=(words, _variables(environment), folder or Path.cwd(), out, error)
        )
        process.start()
        process.join(TIMEOUT_SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, TIMEOUT_SECONDS)
        return Finished(process.exitcode, out.read_text(encoding="utf-8"), error.read_text(encoding="utf-8"))


def _command(words: list[str], variables: dict[str, str], folder: Path, out: Path, error: Path) -> None:
    for path, stream in ((out, sys.stdout), (error, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.argv = words
    main()
