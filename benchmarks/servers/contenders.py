"""Which servers there are to compare, each made for one variant: Slimseq's own, transformers' and CTranslate2's.

The other servers need safetensors. A variant that has none, as int8 graphs have, is compared with its original under
transformers, and with int8 of its original under CTranslate2.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from benchmarks.servers.process import Server, ServerFailed
from slimseq.evaluation.fastest import Layout, default_layout
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import FORMATS, Store

ComputeType = Literal["float32", "int8"]

ORIGINAL = "original"
ROUTES = {Task.TRANSLATION: "/translate", Task.SUMMARIZATION: "/summarize"}


@dataclass(frozen=True)
class Setup:
    """What all servers have in common.

    Args:
        store: where the variant is.
        task: its task.
        variant: its name.
        scratch: a folder for what is made for the measurement.
        threads: that each server may use.
        compute_type: of the CTranslate2 server; None takes int8 for a variant without safetensors, else float32.
        workers: batches that the CTranslate2 server runs at once; 0 for as many as threads.
        max_batch_size: texts in a batch of the CTranslate2 server.
    """

    store: Store
    task: Task
    variant: str
    scratch: Path
    threads: int
    compute_type: ComputeType | None = None
    workers: int = 0
    max_batch_size: int = 32

    @cached_property
    def manifest(self) -> Manifest:
        """The variant's manifest."""
        return self.store.manifest(self.task, self.variant)

    @property
    def layout(self) -> Layout:
        """The service's workers and their threads."""
        return default_layout(self.threads)

    @property
    def original(self) -> Manifest:
        """The manifest of the variant's original, or its own where the store has none."""
        return self.store.manifest(self.task, ORIGINAL) if ORIGINAL in self.store.variants(self.task) else self.manifest

    @property
    def weights(self) -> str:
        """The variant whose safetensors the other servers read.

        Raises:
            ServerFailed: neither the variant nor its original has any.
        """
        for name in (self.variant, ORIGINAL):
            if name in self.store.variants(self.task) and self.store.manifest(self.task, name).has_format(
                "safetensors"
            ):
                return name
        raise ServerFailed(f"neither {self.task}/{self.variant} nor {self.task}/{ORIGINAL} has safetensors")

    @property
    def stored_type(self) -> ComputeType:
        """How the CTranslate2 server stores matrices."""
        return self.compute_type or ("float32" if self.weights == self.variant else "int8")

    @property
    def environment(self) -> dict[str, str]:
        """What bounds the threads of libraries that take no setting."""
        return {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"}


def slimseq(setup: Setup, runtime: str = "auto") -> Server:
    """Returns this project's service, with one variant open."""
    layout = setup.layout
    return Server(
        name="slimseq",
        description=f"{setup.task}/{setup.variant}, runtime {runtime}, workers {layout.workers}, "
        f"threads of each {layout.threads}",
        arguments=["-m", "slimseq.app"],
        path=f"{ROUTES[setup.task]}?variant={setup.variant}&runtime={runtime}",
        ready="/readyz",
        environment={
            **setup.environment,
            "SLIMSEQ_STORE": str(setup.store.root),
            "SLIMSEQ_PRELOAD": f"{setup.task}/{setup.variant}",
            "SLIMSEQ_RUNTIME": runtime,
            "SLIMSEQ_WORKERS": str(layout.workers),
            "SLIMSEQ_THREADS": str(layout.threads),
            "SLIMSEQ_LOG_LEVEL": "warning",
        },
        port_variable="SLIMSEQ_PORT",
    )


def slimseq_with_original(setup: Setup) -> Server:
    """Returns this project's service with the variant's original open, on its own fastest runtime."""
    return replace(slimseq(replace(setup, variant=ORIGINAL)), name=ORIGINAL)


def slimseq_on_ctranslate2(setup: Setup) -> Server:
    """Returns this project's service on CTranslate2, which batches statically, with a copy of the variant.

    Raises:
        ServerFailed: CTranslate2 lacks a part of the model.
    """
    from slimseq.compression.context import Context
    from slimseq.compression.export.exporting import add_ctranslate2

    copied = Store(setup.scratch / "artifacts")
    folder = copied.folder(setup.task, setup.weights)
    try:
        if not folder.exists():
            source = setup.store.folder(setup.task, setup.weights)
            shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*FORMATS))
            add_ctranslate2(Context(store=copied), setup.task, setup.weights, setup.stored_type)
    except SlimseqError as error:
        raise ServerFailed(str(error)) from error
    own = replace(setup, store=copied, variant=setup.weights)
    return replace(
        slimseq(own, "ctranslate2"),
        description=f"{setup.task}/{setup.weights} {setup.stored_type}, runtime ctranslate2, threads {setup.threads}",
    )


def pipeline(setup: Setup) -> Server:
    """Returns transformers behind FastAPI.

    Raises:
        ServerFailed: there are no safetensors to serve.
    """
    return Server(
        name="pipeline",
        description=f"transformers, {setup.weights} float32, one request at a time, threads {setup.threads}",
        arguments=[
            *("-m", "benchmarks.servers.pipeline_server"),
            *("--model", str(setup.store.folder(setup.task, setup.weights))),
            *("--threads", str(setup.threads)),
            *_input_arguments(setup),
        ],
        path="/generate",
        environment=setup.environment,
    )


def ctranslate2(setup: Setup) -> Server:
    """Returns CTranslate2 behind FastAPI, and exports its model.

    Raises:
        ServerFailed: there are no safetensors to export, or CTranslate2 lacks a part of the model.
    """
    from slimseq.compression.export.ctranslate2 import export_ctranslate2

    source = setup.store.folder(setup.task, setup.weights)
    model = setup.scratch / "ctranslate2"
    try:
        if not model.exists():
            export_ctranslate2(source, model, setup.stored_type)
    except SlimseqError as error:
        raise ServerFailed(str(error)) from error
    workers = setup.workers or setup.threads
    threads = max(setup.threads // workers, 1)
    return Server(
        name="ctranslate2",
        description=f"CTranslate2, {setup.weights} {setup.stored_type}, workers {workers}, threads of each {threads}, "
        f"batches of up to {setup.max_batch_size}",
        arguments=[
            *("-m", "benchmarks.servers.ctranslate2_server"),
            *("--model", str(model), "--tokenizer", str(source), "--compute-type", setup.stored_type),
            *("--workers", str(workers), "--threads", str(threads), "--max-batch-size", str(setup.max_batch_size)),
            *_input_arguments(setup),
        ],
        path="/generate",
        environment=setup.environment,
    )


def _input_arguments(setup: Setup) -> list[str]:
    generation = setup.manifest.generation
    return [f"--prefix={generation.prefix}", "--max-input-tokens", str(generation.max_input_tokens)]


# The first of those that are compared sets the rate at which requests arrive at all of them.
SERVERS: dict[str, Callable[[Setup], Server]] = {
    ORIGINAL: slimseq_with_original,
    "ctranslate2": ctranslate2,
    "slimseq": slimseq,
    "pipeline": pipeline,
}
# All but the original, which says nothing where it is the original that is served.
USUAL = ("ctranslate2", "slimseq", "pipeline")
