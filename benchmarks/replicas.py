"""`python -m benchmarks.replicas`: how the throughput grows with the replicas of a cluster, with a simulated engine.

It starts Ray on this machine with as many CPUs as there are replicas, and needs the extra `cluster`.
"""

import argparse
import copy
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.command import (
    MILLISECONDS,
    BenchmarkFailed,
    Record,
    measured_on,
    number,
    parser_of,
    record,
    run,
    say,
    table,
)
from benchmarks.loads.load import Client, Request
from benchmarks.systems.simulated import STEP_SECONDS
from slimseq.app.cluster.config import Scale, serve_config
from slimseq.app.settings import Settings
from slimseq.models_store.generation import GenerationOptions

PORT = 18_400
START_SECONDS = 120.0
POLL_SECONDS = 0.2
REPLICAS = (1, 2)
# More than the batches of all replicas hold, so that every replica is busy.
CLIENTS = 16
BATCH_TOKENS = 64
TEXT = "The children are playing in the garden."
PATH = "/translate"


def simulated_config(store: Path, port: int, replicas: int) -> dict[str, Any]:
    """Returns a Serve config with simulated engines, whose batches hold a few rows."""
    settings = Settings(
        store=store, port=port, runtime="onnxruntime", log_level="warning", workers=1, max_batch_tokens=BATCH_TOKENS
    )
    config = copy.deepcopy(serve_config(settings, Scale(replicas, replicas, cpus=1)))
    config["applications"][0]["import_path"] = "benchmarks.systems.simulated:application"
    return config


def load(port: int) -> Client:
    """Returns the client that measures."""
    options = GenerationOptions(num_beams=1, max_new_tokens=8)
    return Client(port, PATH, [Request("short", TEXT, options)])


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures each number of replicas, one after the other.

    Raises:
        UnusableStore: the store holds nothing.
        BenchmarkFailed: the replicas do not start, or do not answer.
    """
    os.environ |= {"PYTHONPATH": os.pathsep.join(sys.path), "RAY_USAGE_STATS_ENABLED": "0"}
    import ray
    from ray import serve

    started = ray.init(num_cpus=max(given.replicas), namespace="serve", include_dashboard=False, log_to_driver=False)
    address, rates = started.address_info["gcs_address"], []
    try:
        for replicas in given.replicas:
            file = scratch / "serve.yaml"
            file.write_text(yaml.safe_dump(simulated_config(given.store, PORT, replicas)), encoding="utf-8")
            command = [Path(sys.executable).with_name("serve"), "run", "--non-blocking", "--address", address, file]
            subprocess.run(command, check=True, capture_output=True)
            wait_until_running(replicas)
            figures = load(PORT).closed(given.clients, given.seconds)
            rates.append({"replicas": replicas, "figures": figures})
            say(f"{replicas} replicas: {figures.requests_per_second:.1f} requests/s")
    finally:
        serve.shutdown()
        ray.shutdown()
    return record(clients=given.clients, seconds=given.seconds, step_seconds=STEP_SECONDS, rates=rates)


def wait_until_running(replicas: int) -> None:
    """Waits until the service has so many replicas, and no other ones.

    Raises:
        BenchmarkFailed: it has not.
    """
    from ray import serve

    deadline = time.monotonic() + START_SECONDS
    while True:
        states = [
            dict(deployment.replica_states)
            for application in serve.status().applications.values()
            for deployment in application.deployments.values()
        ]
        if states == [{"RUNNING": replicas}]:
            return
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"there are not {replicas} replicas but {states}")
        time.sleep(POLL_SECONDS)


def lines(found: Record) -> Iterator[str]:
    """Yields the section of a record."""
    yield from ("## Replicas", "")
    yield (
        f"`python -m benchmarks.replicas`: {found['clients']} clients, an engine that takes "
        f"{found['step_seconds'] * MILLISECONDS:.0f} ms a step and no CPU."
    )
    yield from ("", measured_on(found), "")
    first = found["rates"][0]["figures"]["requests_per_second"]
    rows = [
        [
            str(each["replicas"]),
            number(each["figures"]["requests_per_second"], 1),
            number(each["figures"]["requests_per_second"] / first, 2) if first else "-",
            number(each["figures"]["p95_ms"], 0),
            str(each["figures"]["errors"]),
        ]
        for each in found["rates"]
    ]
    yield from table(("replicas", "requests/s", "times the first", "p95 ms", "errors"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("replicas", __doc__)
    parser.add_argument("--replicas", nargs="+", type=int, default=REPLICAS)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each load")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
