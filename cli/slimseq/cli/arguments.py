"""Arguments and options that several verbs share, and how a verb answers."""

import importlib
import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from slimseq.cli.progress import progress_on
from slimseq.compression.context import Context, Workers
from slimseq.compression.errors import BadParameters
from slimseq.compression.options import COMMON, OUTPUT, POSITIVE, UNUSED, flat
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import OWN_STORE, default_store, embedded_store, holds_artifacts, make_own_store
from slimseq.models_store.store import Store

TaskArgument = Annotated[Task, Parameter(help="Task of the model.")]
TaskFilter = Annotated[Task | None, Parameter(help="Only this task.")]
VariantArgument = Annotated[str, Parameter(help="Variant to start from, such as `original`.")]
VariantsArgument = Annotated[list[str] | None, Parameter(help="Variants. By default all of the task.")]
StoreOption = Annotated[
    Path | None,
    Parameter(
        group=OUTPUT,
        help="Folder of the artifacts; SLIMSEQ_STORE sets it too. By default ./artifacts. Commands that only read take "
        "the embedded models if ./artifacts has no artifact.",
    ),
]
SeedOption = Annotated[int, Parameter(group=OUTPUT, help="Seed of every random choice.", validator=Number(gte=0))]
DeviceOption = Annotated[str, Parameter(group=OUTPUT, help="Device: cpu, cuda or cuda:N.")]
ForceOption = Annotated[bool, Parameter(group=OUTPUT, negative="", help="Replace an artifact of that name.")]
JsonOption = Annotated[
    bool, Parameter(name=("--json", "-j"), group=OUTPUT, negative="", help="Print JSON instead of text for people.")
]
RecordOption = Annotated[
    bool, Parameter(name="--record", group=COMMON, negative="", help="Write the results into the variants' manifests.")
]
WorkersOption = Annotated[
    int,
    POSITIVE,
    Parameter(
        group=OUTPUT,
        help="Number of processes that generate texts, for evaluations and as teachers. With RAY_ADDRESS they are of "
        "that Ray cluster.",
    ),
]
# Columns of a table that no terminal cuts: none is wider than what is in it.
PIPED_WIDTH = 1000


@flat(OUTPUT)
@dataclass(frozen=True)
class CommonOptions:
    """Options of every technique's verb."""

    store: StoreOption = None
    force: ForceOption = False
    seed: SeedOption = 0
    device: DeviceOption = "cpu"
    as_json: JsonOption = False


@flat(OUTPUT)
@dataclass(frozen=True)
class WithoutSeed(CommonOptions):
    """Options of the verb of a technique that chooses nothing at random and opens no PyTorch model."""

    seed: Annotated[int, UNUSED] = 0
    device: Annotated[str, UNUSED] = "cpu"


def require(library: str) -> None:
    """Imports a library of the offline side before anything is opened or written.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    importlib.import_module(library)


def named_store(store: Path | None) -> Path | None:
    """Returns the store of `--store`, else of `SLIMSEQ_STORE`, else None.

    Raises:
        BadParameters: it is a file.
    """
    store = store or (Path(named) if (named := os.environ.get("SLIMSEQ_STORE")) else None)
    if store is not None and store.is_file():
        raise BadParameters(f"--store {store} is a file; a store is a folder")
    return store


def named_workers(count: int) -> Workers:
    """Returns the workers of `--workers` and `RAY_ADDRESS`.

    Raises:
        BadParameters: a Ray cluster is named, and Ray is not installed.
    """
    address = os.environ.get("RAY_ADDRESS") if count > 1 else None
    if address is not None and importlib.util.find_spec("ray") is None:
        raise BadParameters("--workers with RAY_ADDRESS needs Ray: pip install 'slimseq[cluster]'")
    return Workers(count, address or None)


def open_context(
    store: Path | None, seed: int = 0, device: str = "cpu", force: bool = False, workers: int = 1
) -> Context:
    """Returns the context of a command that writes: where no store is named, to `./artifacts`.

    Raises:
        BadParameters: the store is a file, or this machine does not have the device.
    """
    store = named_store(store)
    _check_device(device)
    context = Context(
        store=Store(store or make_own_store()),
        seed=seed,
        device=device,
        may_replace=force,
        workers=named_workers(workers),
        display=progress_on,
    )
    if store is None:
        context.say(_default(OWN_STORE))
    return context


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:  # What torch raises without CUDA, and for an unknown name.
        raise BadParameters(f"--device {device} is not usable here: {str(error).partition(chr(10))[0]}") from error


def reading_context(store: Path | None, workers: int = 1) -> Context:
    """Returns the context of a command that only reads.

    Raises:
        BadParameters: the named store is a file, or is not there.
    """
    store = named_store(store)
    if store is not None and not store.is_dir():
        raise BadParameters(f"there is no store at {store}")
    context = Context(store=Store(store or default_store()), workers=named_workers(workers), display=progress_on)
    if store is None:
        context.say(_default(context.store.root))
    return context


def chosen_variants(context: Context, task: Task, variants: list[str] | None) -> list[str]:
    """Returns the variants that a command names, or all of the task.

    Raises:
        BadParameters: there are none.
    """
    names = variants or context.store.variants(task)
    if not names:
        raise BadParameters(f"{context.store.root} holds no variant for {task}; `import` or `train` makes one")
    return names


def _default(store: Path) -> str:
    """Says which store is used where none was named."""
    embedded = embedded_store()
    if not holds_artifacts(embedded):
        return f"Store: ./{OWN_STORE} (default)"
    shown = embedded.relative_to(Path.cwd()) if embedded.is_relative_to(Path.cwd()) else embedded
    if store == OWN_STORE:
        return f"Store: ./{OWN_STORE} (default; --store {shown} has the embedded models)"
    return f"Store: {shown} (the embedded models; ./{OWN_STORE} holds no artifact)"


def print_json(value: Any) -> None:
    """Writes a result to standard output, for machines."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(table: Table) -> None:
    """Writes a table to standard output: as wide as a terminal, and where it is piped as wide as it needs to be."""
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


def print_line(text: str) -> None:
    """Writes a line of a result to standard output, for people."""
    sys.stdout.write(text + "\n")
