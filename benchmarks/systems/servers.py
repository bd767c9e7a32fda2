"""The servers that are compared: Slimseq's service, transformers and CTranslate2 behind FastAPI, each a process.

`plain` has the variant's own CTranslate2 files. The others need safetensors. For a variant without any, such as int8
graphs, the transformers server has the variant's original, and the CTranslate2 server int8 weights of the original.
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
from benchmarks.systems.peer_systems import ORIGINAL, ComputeType, Place, ctranslate2_files
from slimseq.evaluation.fastest import Layout, default_layout
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store

ROUTES = {Task.TRANSLATION: "/translate", Task.SUMMARIZATION: "/summarize"}
START_SECONDS = 180.0
STOP_SECONDS = 20.0
# Texts of a batch of the CTranslate2 server.
MAX_BATCH = 32
POLL_SECONDS = 0.1
PLAIN = "benchmarks.systems.plain_server"


@dataclass(frozen=True)
class Server:
    """How to start a server and where to send requests.

    Args:
        name: in results.
        description: what it is and its settings, for the record.
        arguments: of the Python interpreter. The environment has the port, as `SLIMSEQ_PORT`.
        path: requests are posted to it.
        ready: path that answers 200 when the server can generate.
        environment: variables for it alone.
        folder: the working directory; None for that of this process.
    """

    name: str
    description: str
    arguments: list[str]
    path: str
    ready: str = "/healthz"
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None


@contextmanager
def running(server: Server, logs: Path, requests: Sequence[Request] = ()) -> Iterator[Client]:
    """Starts a server, yields a client when it has answered, and stops it at the end of the block.

    Args:
        server: to start.
        logs: folder for its log.
        requests: of the client; the first short and the first long one are sent.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        client = Client(int(probe.getsockname()[1]), server.path, requests)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIMSEQ_")}
    # Another checkout's service may have another schema, and the user's own database is none of a benchmark's.
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


def service(store: Store, task: Task, variant: str, **settings: object) -> Server:
    """Returns this project's service with one variant loaded. `settings` are those of `SLIMSEQ_*`, in lower case."""
    store.manifest(task, variant)
    everything = {"store": store.root, "preload": f"{task}/{variant}", "log_level": "warning", **settings}
    environment = {f"SLIMSEQ_{name.upper()}": str(value) for name, value in everything.items()}
    path = f"{ROUTES[task]}?variant={variant}"
    return Server("slimseq", "", ["-m", "slimseq.app"], path, ready="/readyz", environment=environment)


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
        """The variant's manifest."""
        return self.store.manifest(self.task, self.variant)

    @property
    def layout(self) -> Layout:
        """The service's workers and their threads."""
        return default_layout(self.threads)

    @property
    def weights(self) -> str:
        """The variant whose safetensors the other servers read."""
        known = self.store.variants(self.task)
        for name in (self.variant, ORIGINAL):
            if name in known and self.store.manifest(self.task, name).has_format("safetensors"):
                return name
        raise BenchmarkFailed(f"neither {self.task}/{self.variant} nor {self.task}/{ORIGINAL} has safetensors")

    @property
    def compute_type(self) -> ComputeType:
        """CTranslate2's type of matrices: int8 for a variant that has no safetensors of its own."""
        return "float32" if self.weights == self.variant else "int8"

    @property
    def environment(self) -> dict[str, str]:
        """Limits the threads of libraries that have no setting for them."""
        return {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"}

    def peer(self, name: str, description: str, system: str, workers: int, batch: int) -> Server:
        """Returns a server of `benchmarks.systems.peer_server`, which reads texts as the service does."""
        generation, original = self.manifest.generation, self.store.folder(self.task, self.weights)
        options = {
            "workers": workers,
            "threads": self.threads // workers,
            "batch": batch,
            "prefix": generation.prefix,
            "max-input-tokens": generation.max_input_tokens,
        }
        command = ["-m", "benchmarks.systems.peer_server", system, str(original), str(self.scratch)]
        command += [f"--{key}={value}" for key, value in options.items()]
        return Server(name, description, command, "/generate", environment=self.environment)


def slimseq(setup: Setup) -> Server:
    """Returns this project's service on the threads that all servers may use."""
    workers, threads = setup.layout.workers, setup.layout.threads
    server = service(setup.store, setup.task, setup.variant, workers=workers, threads=threads)
    described = f"{setup.task}/{setup.variant}, runtime auto, workers {workers}, threads of each {threads}"
    return replace(server, description=described, environment={**setup.environment, **server.environment})


def slimseq_original(setup: Setup) -> Server:
    """Returns this project's service with the variant's original."""
    return replace(slimseq(replace(setup, variant=ORIGINAL)), name=ORIGINAL)


def pipeline(setup: Setup) -> Server:
    """Returns transformers behind FastAPI."""
    described = f"transformers, {setup.weights} float32, one request at a time, threads {setup.threads}"
    return setup.peer("pipeline", described, "transformers-fp32", workers=1, batch=1)


def ctranslate2(setup: Setup) -> Server:
    """Returns CTranslate2 behind FastAPI, and exports its model."""
    type_, workers = setup.compute_type, setup.threads
    ctranslate2_files(type_, Place(setup.scratch, setup.store.folder(setup.task, setup.weights), setup.task))
    described = f"CTranslate2, {setup.weights} {type_}, workers {workers}, threads of each 1"
    described += f", batches of up to {MAX_BATCH}"
    return setup.peer("ctranslate2", described, f"ctranslate2-{type_.replace('float', 'fp')}", workers, MAX_BATCH)


def plain(setup: Setup) -> Server:
    """Returns twelve lines of FastAPI and CTranslate2 with the files that the service has."""
    if not setup.store.has_format(setup.task, setup.variant, "ctranslate2"):
        raise BenchmarkFailed(f"{setup.task}/{setup.variant} has no files for CTranslate2")
    command = ["-m", PLAIN, str(setup.store.folder(setup.task, setup.variant)), str(setup.threads)]
    described = f"FastAPI and CTranslate2, {setup.variant}, workers {setup.threads}, threads of each 1, no batches"
    return Server("plain", described, command, "/translate", environment=setup.environment)


def plain_post(setup: Setup) -> Server:
    """Returns a FastAPI application whose only route takes a pydantic body and does nothing."""
    return Server("plain POST", "", ["-m", PLAIN], "/unit", environment=setup.environment)


# The first of those that are compared sets the rate at which requests arrive at all of them.
SERVERS: dict[str, Callable[[Setup], Server]] = {
    ORIGINAL: slimseq_original,
    "ctranslate2": ctranslate2,
    "slimseq": slimseq,
    "plain": plain,
    "pipeline": pipeline,
}
