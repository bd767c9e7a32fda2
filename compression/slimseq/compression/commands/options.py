"""Arguments and options that several commands share, and how a command answers."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import OWN_STORE, default_store, embedded_store, holds_artifacts, make_own_store
from slimseq.models_store.store import Store

TaskArgument = Annotated[Task, typer.Argument(help="The task.", show_default=False)]
VariantArgument = Annotated[str, typer.Argument(help="The variant to start from, such as `original`.")]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of artifacts. Without it ./artifacts is used; what only reads takes the embedded models where "
        "that holds none.",
        envvar="SLIMSEQ_STORE",
        file_okay=False,
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seeds every random choice.", min=0)]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an artifact of that name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
# Columns of a table that no terminal cuts: none is wider than what is in it.
PIPED_WIDTH = 1000


def open_context(store: Path | None, seed: int = 0, device: str = "cpu", force: bool = False) -> Context:
    """Returns the context of a command that writes: where no store is named, to `./artifacts`."""
    context = Context(store=Store(store or make_own_store()), seed=seed, device=device, may_replace=force)
    if store is None:
        context.say(_default(OWN_STORE))
    return context


def reading_context(store: Path | None) -> Context:
    """Returns the context of a command that only reads."""
    context = Context(store=Store(store or default_store()))
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
    """Writes a value to standard output as JSON, for machines."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(table: Table) -> None:
    """Writes a table to standard output: as wide as a terminal, and where it is piped as wide as it needs to be."""
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


def print_line(text: str) -> None:
    """Writes one line of a result to standard output, for people."""
    sys.stdout.write(text + "\n")
