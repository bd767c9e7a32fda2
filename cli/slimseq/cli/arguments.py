"""Arguments and options that several verbs share, how a verb answers, and the command that it names as the next one."""

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
from slimseq.compression.context import FIREFOX_URL, Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.options import COMMON, OUTPUT, POSITIVE, flat
from slimseq.evaluation.datasets import BUNDLED, bundled_sample
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.places import OWN_STORE, default_store, embedded_store, holds_artifacts, shortened
from slimseq.models_store.store import Store

# An option that is on where it is given.
FLAG = Parameter(negative="")
TaskArgument = Annotated[Task, Parameter(help="Task of the model.")]
TaskFilter = Annotated[Task | None, Parameter(help="Only this task.")]
VariantArgument = Annotated[str, Parameter(help="Variant to start from, such as `original`.")]
VariantFilter = Annotated[str | None, Parameter(help="Only this variant.")]
VariantsArgument = Annotated[list[str] | None, Parameter(help="Variants. By default all of the task.")]
DeviceOption = Annotated[str, Parameter(group=OUTPUT, help="Device: cpu, cuda or cuda:N.")]
ForceOption = Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Replace an artifact of that name.")]
RecordOption = Annotated[bool, FLAG, Parameter(group=COMMON, help="Write the results into the variants' manifests.")]
WorkersOption = Annotated[
    int,
    POSITIVE,
    Parameter(group=OUTPUT, help="Number of batches that are generated at a time, for evaluations and as teachers."),
]
# Columns of a table that no terminal cuts: none is wider than what is in it.
PIPED_WIDTH = 1000


@flat(OUTPUT)
@dataclass(frozen=True)
class Shared:
    """The store that a verb works on, and the form of its answer."""

    store: Annotated[
        Path | None,
        Parameter(
            help="Folder of the artifacts; SLIMSEQ_STORE sets it too. By default ./artifacts. Commands that only read "
            "take the embedded models if ./artifacts has no artifact."
        ),
    ] = None
    as_json: Annotated[bool, FLAG, Parameter(name=("--json", "-j"), help="Print JSON instead of text for people.")] = (
        False
    )

    @property
    def named_store(self) -> Path | None:
        store, named = self.store, os.environ.get("SLIMSEQ_STORE")
        if store is None and named:
            store = Path(named)
        if store is not None and store.is_file():
            raise BadParameters(f"--store {store} is a file; a store is a folder")
        return store

    def reading(self, workers: int = 1) -> Context:
        named = self.named_store
        if named is not None and not named.is_dir():
            raise BadParameters(f"there is no store at {named}")
        return self._context(default_store(), workers=workers)

    def writing(self, seed: int = 0, device: str = "cpu", force: bool = False, workers: int = 1) -> Context:
        """Returns the context of a command that writes: where no store is named, to `./artifacts`."""
        _check_device(device)
        return self._context(OWN_STORE, seed=seed, device=device, may_replace=force, workers=workers)

    def _context(self, default: Path, **state: Any) -> Context:
        """Returns a context, and says which store it has where none was named."""
        firefox = os.environ.get("SLIMSEQ_FIREFOX_URL") or FIREFOX_URL
        context = Context(Store(self.named_store or default), display=progress_on, firefox_url=firefox, **state)
        if self.named_store is not None:
            return context
        embedded = embedded_store()
        shown = shortened(embedded)
        if not holds_artifacts(embedded):
            context.say(f"Store: ./{OWN_STORE} (default)")
        elif context.store.root == OWN_STORE:
            context.say(f"Store: ./{OWN_STORE} (default; --store {shown} has the embedded models)")
        else:
            context.say(f"Store: {shown} (the embedded models; ./{OWN_STORE} holds no artifact)")
        return context

    def show(self, value: Any, *parts: str | Table) -> None:
        """Writes a result to standard output: a value as JSON for machines, or lines and tables for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
            return
        for part in parts:
            if isinstance(part, str):
                sys.stdout.write(f"{part}\n")
            else:
                # As wide as a terminal, and where it is piped as wide as it needs to be.
                Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(part)


@flat(OUTPUT)
@dataclass(frozen=True)
class TechniqueOptions(Shared):
    force: ForceOption = False
    seed: Annotated[int, Parameter(help="Seed of every random choice.", validator=Number(gte=0))] = 0
    device: DeviceOption = "cpu"


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:  # What torch raises without CUDA, and for an unknown name.
        raise BadParameters(f"--device {device} is not usable here: {str(error).partition(chr(10))[0]}") from error


def chosen_variants(context: Context, task: Task, variants: list[str] | None) -> list[str]:
    names = variants or context.store.variants(task)
    if not names:
        raise BadParameters(f"{context.store.root} holds no variant for {task}; `import` or `train` makes one")
    return names


def command_line(context: Context, *words: str) -> str:
    """Returns a command on the context's store, as a shell takes it."""
    store = [] if context.store.root == default_store() else ["--store", str(context.store.root)]
    return shlex.join([*_program(), *words, *store])


def evaluate_next(context: Context, manifest: Manifest, has_own_data: bool = False) -> str:
    """Returns the command that measures a variant: on a test file where it was chosen on data of the user's own."""
    words = ["evaluate", manifest.task.value, manifest.variant, "--record"]
    found = "test.jsonl" if has_own_data else bundled_sample(manifest.task, manifest.languages) or "test.jsonl"
    if found != BUNDLED:
        words += ["--data", found]
    held_out = " on texts that it has not seen" if has_own_data else ""
    return f"Next, measure its quality{held_out} and record it in the manifest: {command_line(context, *words)}"


def _program() -> list[str]:
    typed = sys.argv[0]
    if Path(typed).name != "slimseq":
        return [sys.executable, "-m", "slimseq"]
    return ["slimseq" if shutil.which("slimseq") == typed else typed]
