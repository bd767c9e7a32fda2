"""Where a measured model is, how its files are made, and what each system is: a function that generates."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task

Rows = Sequence[Sequence[int]]
# Generates for a batch. Returns the ids of each output, end tokens included, and padding where a system has it.
Generate = Callable[[Rows, GenerationOptions], list[list[int]]]


@dataclass(frozen=True)
class Place:
    """Where a model is."""

    # For the files that systems make of the model.
    folder: Path
    # With the safetensors: the folder of a variant in a store.
    original: Path
    task: Task


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Yields a new folder to write to, which gets its name at the end of the block.

    So a folder that a stopped run has left is not taken for a whole one.
    """
    new = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    yield new
    new.rename(folder)
