"""A real PostgreSQL server in a folder of its own, from the binaries of Debian's package `postgresql`."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.service.conftest import free_port

# initdb refuses to run as root. Tests that run as root start the server's programs as this user.
USER = "nobody" if os.getuid() == 0 else None
ACCOUNT_OPTIONS: dict[str, Any] = {"user": USER, "group": "nogroup", "extra_groups": []} if USER else {}


class PostgreSQL:
    """A running server. `stop` and `start` take it down and bring it back with its data."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._port = free_port()
        self._run("initdb", "--pgdata", folder / "data", "--username", "slimseq", "--auth", "trust", "--no-sync")
        self.start()

    def start(self) -> None:
        # The data need not survive the machine, so nothing is flushed to the disk.
        options = f"-h 127.0.0.1 -p {self._port} -k {self._folder} -c fsync=off"
        log = self._folder / "log"
        self._run("pg_ctl", "--pgdata", self._folder / "data", "--log", log, "--wait", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "--pgdata", self._folder / "data", "--wait", "--mode", "immediate", "stop")

    def new_database(self, name: str) -> str:
        """Makes an empty database, and returns its URL."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://slimseq@127.0.0.1:{self._port}/{database}"

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._binaries / program), *map(str, arguments)]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL, timeout=60, **ACCOUNT_OPTIONS)


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Runs a server until the block ends. Skips the test where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL, Debian's package `postgresql`")
    # Another user may not enter pytest's temporary folders.
    folder = Path(tempfile.mkdtemp(prefix="slimseq-postgresql-"))
    try:
        if USER:
            shutil.chown(folder, USER, "nogroup")
        server = PostgreSQL(found[-1].parent, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
