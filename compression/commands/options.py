"""Arguments and options that several commands share, and how a command answers."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from compression.context import Context
from models_store.manifest import Task
from models_store.store import Store, default_store

TaskArgument = Annotated[Task, typer.Argument(help="The task.", show_default=False)]
VariantArgument = Annotated[str, typer.Argument(help="The variant to start from, such as `original`.")]
StoreOption = Annotated[
    Path, typer.Option("--store", help="Folder of artifacts.", envvar="SLIMSEQ_STORE", file_okay=False)
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seeds every random choice.", min=0)]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an artifact of that name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]

DEFAULT_STORE = default_store()


def open_context(store: Path, seed: int = 0, device: str = "cpu", force: bool = False) -> Context:
    """Returns the context of one command."""
    return Context(store=Store(store), seed=seed, device=device, may_replace=force)


def print_json(value: Any) -> None:
    """Writes a value to standard output as JSON, for machines."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_line(text: str) -> None:
    """Writes one line of a result to standard output, for people."""
    sys.stdout.write(text + "\n")
