"""Which servers there are to compare, each made for one variant: Slimseq's own, transformers' and CTranslate2's.

The other servers need safetensors. A variant that has none, as int8 graphs have, is compared with its original under
transformers, and with int8 of its original under CTranslate2.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.command import BenchmarkFailed
from benchmarks.servers.process import Server
from slimseq.compression.context import Context
from slimseq.compression.export.ctranslate2 import export_ctranslate2
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.evaluation.fastest import Layout, default_layout
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store

ORIGINAL = "original"
ROUTES = {Task.TRANSLATION: "/translate", Task.SUMMARIZATION: "/summarize"}
# Texts of a batch of the CTranslate2 server.
MAX_BATCH_SIZE = 32


@dataclass(frozen=True)
class Setup:
    """What all servers have in common.

    Args:
        store: where the variant is.
        task: its task.
        variant: its name.
        scratch: a folder for what is made for the measurement.
        threads: that each server may use.
    """

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
        """The variant whose safetensors the other servers read.

        Raises:
            BenchmarkFailed: neither the variant nor its original has any.
        """
        known = self.store.variants(self.task)
        for name in (self.variant, ORIGINAL):
            if name in known and self.store.manifest(self.task, name).has_format("safetensors"):
                return name
        raise BenchmarkFailed(f"neither {self.task}/{self.variant} nor {self.task}/{ORIGINAL} has safetensors")

    @property
    def stored_type(self) -> Literal["float32", "int8"]:
        """How CTranslate2 stores matrices: int8 for a variant that has no safetensors of its own."""
        return "float32" if self.weights == self.variant else "int8"

    @property
    def environment(self) -> dict[str, str]:
        """What bounds the threads of libraries that take no setting."""
        return {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"}

    def other(self, name: str, description: str, *arguments: object) -> Server:
        """Returns a server of `benchmarks/servers/`, which reads texts as the service does."""
        generation = self.manifest.generation
        reading = (f"--prefix={generation.prefix}", "--max-input-tokens", generation.max_input_tokens)
        command = ["-m", f"benchmarks.servers.{name}_server", *map(str, (*arguments, *reading))]
        return Server(name, description, command, "/generate", environment=self.environment)


def service(store: Store, task: Task, variant: str, **settings: object) -> Server:
    """Returns this project's service with one variant open; settings are named as in `SLIMSEQ_NAME`."""
    everything = {"store": store.root, "preload": f"{task}/{variant}", "log_level": "warning", **settings}
    return Server(
        name="slimseq",
        description="",
        arguments=["-m", "slimseq.app"],
        path=f"{ROUTES[task]}?variant={variant}",
        ready="/readyz",
        environment={f"SLIMSEQ_{name.upper()}": str(value) for name, value in everything.items()},
        port_variable="SLIMSEQ_PORT",
    )


def slimseq(setup: Setup, runtime: str = "auto") -> Server:
    """Returns this project's service on the threads that all servers may use."""
    workers, threads = setup.layout.workers, setup.layout.threads
    server = service(setup.store, setup.task, setup.variant, runtime=runtime, workers=workers, threads=threads)
    return replace(
        server,
        description=f"{setup.task}/{setup.variant}, runtime {runtime}, workers {workers}, threads of each {threads}",
        path=f"{server.path}&runtime={runtime}",
        environment={**setup.environment, **server.environment},
    )


def slimseq_with_original(setup: Setup) -> Server:
    """Returns this project's service with the variant's original open, on its own fastest runtime."""
    return replace(slimseq(replace(setup, variant=ORIGINAL)), name=ORIGINAL)


def slimseq_on_ctranslate2(setup: Setup) -> Server:
    """Returns this project's service on CTranslate2, which batches statically, with a copy of the variant."""
    copied = Store(setup.scratch / "artifacts")
    folder = copied.folder(setup.task, setup.weights)
    if not folder.exists():
        source = setup.store.folder(setup.task, setup.weights)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*DERIVED_FORMATS))
        add_ctranslate2(Context(copied), setup.task, setup.weights, setup.stored_type)
    server = slimseq(replace(setup, store=copied, variant=setup.weights), "ctranslate2")
    described = f"{setup.task}/{setup.weights} {setup.stored_type}, runtime ctranslate2, threads {setup.threads}"
    return replace(server, description=described)


def pipeline(setup: Setup) -> Server:
    """Returns transformers behind FastAPI."""
    described = f"transformers, {setup.weights} float32, one request at a time, threads {setup.threads}"
    model = setup.store.folder(setup.task, setup.weights)
    return setup.other("pipeline", described, "--model", model, "--threads", setup.threads)


def ctranslate2(setup: Setup) -> Server:
    """Returns CTranslate2 behind FastAPI, and exports its model."""
    source, model = setup.store.folder(setup.task, setup.weights), setup.scratch / "ctranslate2"
    if not model.exists():
        export_ctranslate2(source, model, setup.stored_type)
    described = (
        f"CTranslate2, {setup.weights} {setup.stored_type}, workers {setup.threads}, threads of each 1, batches of up "
        f"to {MAX_BATCH_SIZE}"
    )
    batching = ("--workers", setup.threads, "--max-batch-size", MAX_BATCH_SIZE, "--compute-type", setup.stored_type)
    return setup.other("ctranslate2", described, "--model", model, "--tokenizer", source, *batching)


# Each may raise a SlimseqError where it cannot be made. The first of those that are compared sets the rate at which
# requests arrive at all of them.
SERVERS: dict[str, Callable[[Setup], Server]] = {
    ORIGINAL: slimseq_with_original,
    "ctranslate2": ctranslate2,
    "slimseq": slimseq,
    "pipeline": pipeline,
}
# All but the original, which says nothing where it is the original that is served.
USUAL = ("ctranslate2", "slimseq", "pipeline")
