"""Attacks a service with 2 GiB of memory and few file descriptors, and prints a table of what held (`make chaos`).

`python -m tests.chaos` sends 10,000 mixed requests with attacks and disturbances at once, and compares the answers with
those of a quiet service.
"""

import argparse
import contextlib
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from slimseq.app.http.keys import KeyLimits, Scope, add_key
from slimseq.models_store.places import embedded_store
from tests.chaos.attacks import ATTACKS
from tests.chaos.storm import Row, Storm, weather
from tests.chaos.target import Target
from tests.service.conftest import running_service

MEMORY_BYTES = 2 * 1024**3
# Fewer than the service needs for the connections of `SLIMSEQ_MAX_CONNECTIONS` and its files.
DESCRIPTORS = 512
REQUESTS = 10_000
# Mean time between two of the most frequent disturbances.
PAUSE_SECONDS = 2.0
# Limit for a probe of `/healthz`. Nothing else may run on the machine.
STALL_SECONDS = 0.25
SCOPES_OF_CLIENTS = (Scope.GENERATE, Scope.EVALUATE, Scope.METRICS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"default: {REQUESTS}")
    parser.add_argument("--seed", type=int, help="default: another one each time; it is printed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, limited_target(Path(folder)) as target:
        seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
        storm = Storm(arguments.requests, seed, ATTACKS, PAUSE_SECONDS, STALL_SECONDS)
        return print_table(weather(target, storm, say))


@contextlib.contextmanager
def limited_target(folder: Path) -> Iterator[Target]:
    """Runs a service with keys, 2 GiB of memory, few file descriptors, a store and a database of its own."""
    store, log, keys, state = (folder / name for name in ("artifacts", "log", "keys.json", "state"))
    shutil.copytree(embedded_store(), store, ignore=shutil.ignore_patterns("portuguese*"))
    state.mkdir()

    def headers(name: str, scopes: tuple[Scope, ...]) -> dict[str, str]:
        return {"Authorization": f"Bearer {add_key(keys, name, scopes, KeyLimits(), None)[1]}"}

    operator, outsider = headers("operator", tuple(Scope)), headers("outsider", (Scope.METRICS,))
    client = headers("client", SCOPES_OF_CLIENTS)
    settings: dict[str, Any] = {
        "database_url": f"sqlite:///{state / 'kept.db'}",
        "request_timeout_seconds": 30,
        "evaluation_kept": 1000,
    }
    limit = ("prlimit", f"--data={MEMORY_BYTES}", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    with running_service(log, prefix=limit, store=store, keys_file=keys, **settings) as service:
        service.headers = client
        yield Target(service, store, log, psutil.Process(service.pid), operator, outsider)


def print_table(rows: list[Row]) -> int:
    """Prints a line for each row; returns 1 where something is wrong."""
    width = max(len(row.name) for row in rows)
    for row in rows:
        say(f"{row.name:{width}}  {'held' if row.is_right else 'NOT held'}  {row.found}")
    say(f"{sum(row.is_right for row in rows)} of {len(rows)} held")
    return 0 if all(row.is_right for row in rows) else 1


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
