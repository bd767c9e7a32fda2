"""Runs programs in an empty home folder. Records the files that they leave there, and whom they would contact.

The recorder (`outward.c`) is a library that is preloaded into each program and its children.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slimseq.models_store.no_telemetry import SWITCHES

SOURCE = Path(__file__).with_name("outward.c")
# Variables that lead a library's files out of the home folder. They are removed, so that all files are seen.
FOLDER_VARIABLES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "HF_HOME", "TMPDIR")

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="the recorder is a library for Linux, made with cc"
)


class Outward:
    """An empty home folder, and the record of what programs in it look up and connect to."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self._record = folder / "record"
        self._library = folder / "outward.so"
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", str(SOURCE), "-o", str(self._library), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a stranger's shell: without those that switch telemetry off, and with the recorder's."""
        kept = {name: value for name, value in os.environ.items() if name not in (*SWITCHES, *FOLDER_VARIABLES)}
        recorder = {"LD_PRELOAD": str(self._library), "OUTWARD_RECORD": str(self._record)}
        return kept | {"HOME": str(self.home)} | recorder

    @property
    def targets(self) -> list[str]:
        """The host names that programs looked up, and the addresses of other machines that they connected to."""
        return self._record.read_text().splitlines() if self._record.exists() else []

    @property
    def files(self) -> list[str]:
        """What was left in the home folder."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if not path.is_dir())

    def run(self, *command: object) -> "subprocess.CompletedProcess[str]":
        """Runs Python with these words in the empty home, and waits for its end."""
        words = [sys.executable, *map(str, command)]
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=600)
