"""Runs the real command line in a process of its own, as a user would."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any


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
    """Runs `python -m compression` with these arguments and additional environment variables."""
    return _run([sys.executable, "-m", "compression", *map(str, arguments)], environment)


def compression_without_room(greatest_file: int, *arguments: object) -> Finished:
    """Runs it where no file can become larger than so many bytes: what a full disk does, without filling one."""
    return _run(["prlimit", f"--fsize={greatest_file}", sys.executable, "-m", "compression", *map(str, arguments)], {})


def _run(command: list[str], environment: dict[str, str]) -> Finished:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=600
    )
    return Finished(done.returncode, done.stdout, done.stderr)
