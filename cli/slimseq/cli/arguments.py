"""Arguments and options that several verbs share, how a verb answers, and the command that it names as the next one."""

import importlib
import importlib.util
import json
import os
import shlex
import shutil
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
from slimseq.evaluation.datasets import BUNDLED_LANGUAGES
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.places import (
    OWN_STORE,
    default_store,
    embedded_store,
    holds_artifacts,
    make_own_store,
    near,
    pip_install,
)
from slimseq.models_store.store import Store

# An option that is on where it is given.
FLAG = Parameter(negative="")
TaskArgument = Annotated[Task, Parameter(help="Task of the model.")]
TaskFilter = Annotated[Task | None, Parameter(help="Only this task.")]
VariantArgument = Annotated[str, Parameter(help="Variant to start from, such as `original`.")]
VariantFilter = Annotated[str | None, Parameter(help="Only this variant.")]
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
ForceOption = Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Replace an artifact of that name.")]
JsonOption = Annotated[
    bool, FLAG, Parameter(name=("--json", "-j"), group=OUTPUT, help="Print JSON instead of text for people.")
]
RecordOption = Annotated[bool, FLAG, Parameter(group=COMMON, help="Write the results into the variants' manifests.")]
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


def open_context(
    store: Path | None, seed: int = 0, device: str = "cpu", force: bool = False, workers: int = 1
) -> Context:
    """Returns the context of a command that writes: where no store is named, to `./artifacts`.

    Raises:
        BadParameters: the store is a file, or this machine does not have the device.
    """
    named = named_store(store)
    _check_device(device)
    root, processes = named or make_own_store(), _workers(workers)
    context = Context(Store(root), seed, device, force, workers=processes, display=progress_on)
    _say_default(context, is_named=named is not None)
    return context


def reading_context(store: Path | None, workers: int = 1) -> Context:
    """Returns the context of a command that only reads.

    Raises:
        BadParameters: the named store is a file, or is not there.
    """
    named = named_store(store)
    if named is not None and not named.is_dir():
        raise BadParameters(f"there is no store at {named}")
    context = Context(Store(named or default_store()), workers=_workers(workers), display=progress_on)
    _say_default(context, is_named=named is not None)
    return context


def _workers(count: int) -> Workers:
    address = os.environ.get("RAY_ADDRESS") if count > 1 else None
    if address is not None and importlib.util.find_spec("ray") is None:
        raise BadParameters(f"--workers with RAY_ADDRESS needs Ray: {pip_install('cluster')}")
    return Workers(count, address or None)


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:  # What torch raises without CUDA, and for an unknown name.
        raise BadParameters(f"--device {device} is not usable here: {str(error).partition(chr(10))[0]}") from error


def _say_default(context: Context, is_named: bool) -> None:
    """Says which store is used where none was named."""
    embedded = embedded_store()
    if is_named:
        return
    shown = near(embedded)
    if not holds_artifacts(embedded):
        context.say(f"Store: ./{OWN_STORE} (default)")
    elif context.store.root == OWN_STORE:
        context.say(f"Store: ./{OWN_STORE} (default; --store {shown} has the embedded models)")
    else:
        context.say(f"Store: {shown} (the embedded models; ./{OWN_STORE} holds no artifact)")


def chosen_variants(context: Context, task: Task, variants: list[str] | None) -> list[str]:
    """Returns the variants that a command names, or all of the task.

    Raises:
        BadParameters: there are none.
    """
    names = variants or context.store.variants(task)
    if not names:
        raise BadParameters(f"{context.store.root} holds no variant for {task}; `import` or `train` makes one")
    return names


def print_json(value: Any) -> None:
    """Writes a result to standard output, for machines."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(table: Table) -> None:
    """Writes a table to standard output: as wide as a terminal, and where it is piped as wide as it needs to be."""
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


def print_line(text: str) -> None:
    """Writes a line of a result to standard output, for people."""
    sys.stdout.write(text + "\n")


def command_line(context: Context, *words: str) -> str:
    """Returns a command on the context's store, as a shell takes it."""
    store = [] if context.store.root == default_store() else ["--store", str(context.store.root)]
    return shlex.join([*_program(), *words, *store])


def serving_line(context: Context) -> str:
    """Returns the command that serves the context's store."""
    store = "" if context.store.root == default_store() else f"SLIMSEQ_STORE={shlex.quote(str(context.store.root))} "
    return f"{store}{shlex.join(_program())} serve"


def evaluate_next(context: Context, manifest: Manifest, data: str | None = None) -> str:
    """Returns how to measure an artifact's quality."""
    words = ["evaluate", manifest.task.value, manifest.variant, "--record"]
    if data is not None or manifest.languages != BUNDLED_LANGUAGES[manifest.task]:
        words += ["--data", data or "test.jsonl"]
    return f"Next, measure its quality and record it in the manifest: {command_line(context, *words)}"


def _program() -> list[str]:
    """Returns `slimseq` as it was typed."""
    typed = sys.argv[0]
    if Path(typed).name != "slimseq":
        return [sys.executable, "-m", "slimseq"]
    return ["slimseq" if shutil.which("slimseq") == typed else typed]
