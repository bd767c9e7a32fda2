"""Reads the tutorial and enters its commands in one terminal, as a reader does."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
# The port that the page names. It may be in use where the page is tried, so another one takes its place.
PORT = ":8000"
# A block of commands, and the output that the page may show right below it.
BLOCK = re.compile(r"```bash\n(?P<commands>.*?)```(?:\n\n```(?:json|text)\n(?P<shown>.*?)```)?", re.DOTALL)
END_OF_BLOCK = "end-of-block-"


@dataclass(frozen=True)
class Block:
    """A block of commands, what the page shows below it, and what the terminal printed."""

    commands: str
    shown: str
    printed: str


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Returns each block of commands and what the page shows below it, or an empty text."""
    return [(found["commands"], found["shown"] or "") for found in BLOCK.finditer(page)]


@contextlib.contextmanager
def terminal(folder: Path, port: int) -> Iterator["Terminal"]:
    """Opens a shell in a folder and ends it with everything that it started."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIMSEQ_")}
    # The commands of this environment, as after `source .venv/bin/activate`.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment |= {"SLIMSEQ_PORT": str(port), "XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "200"}
    shell = subprocess.Popen(
        [shutil.which("bash") or "bash", "--noprofile", "--norc", "-e"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    try:
        yield Terminal(shell.stdin, shell.stdout, folder, port)
    finally:
        shell.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        shell.stdout.close()
        shell.wait(timeout=60)


class Terminal:
    """A shell that takes one block of commands after the other."""

    def __init__(self, stdin: IO[str], stdout: IO[str], folder: Path, port: int) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._folder = folder
        self._port = port
        self._entered = 0

    def enter(self, commands: str) -> str:
        """Runs a block as it is written, but for the port, and returns what it prints.

        Raises:
            AssertionError: A command of the block fails.
        """
        self._entered += 1
        script = self._folder / f"block-{self._entered}.sh"
        script.write_text(commands.replace(PORT, f":{self._port}"), encoding="utf-8")
        end = f"{END_OF_BLOCK}{self._entered}"
        # Commands read from /dev/null, since the standard input of the shell has the next blocks. The end is printed
        # after a line break, because an answer of curl may end without one.
        self._stdin.write(f"source {script} < /dev/null\nprintf '\\n%s\\n' {end}\n")
        self._stdin.flush()
        printed: list[str] = []
        for line in self._stdout:
            if line.strip() == end:
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"this block failed:\n{commands}\nIt printed:\n{''.join(printed)}")
