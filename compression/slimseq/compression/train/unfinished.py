"""Keeps the folder of an unfinished training, so that the same command goes on from its checkpoint.

The folder is in the store, where other verbs ignore it: `STORE/.training/TASK/NAME-KEY/`. The key is a hash of
everything that decides the result, so that a different command has a different folder. The folder is removed once the
variant is published. `slimseq list` lists the folders of abandoned trainings. `checkpoint` writes the files.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slimseq.compression.context import Context
from slimseq.compression.errors import TrainingDiverged
from slimseq.compression.train.training_options import CACHE
from slimseq.models_store.files import folder_bytes, writing_to
from slimseq.models_store.manifest import Task

FOLDER = ".training"
# Subfolders of a training's folder: the checkpoint, the one that is being written, and the one before.
CURRENT = "checkpoint"
WRITING = "checkpoint.writing"
PREVIOUS = "checkpoint.previous"
STATE = "state.json"
# The command that started the training, a JSON list of words, for `slimseq list`.
COMMAND = "command.json"
# Characters of the key in the folder's name.
KEY_CHARACTERS = 12


@dataclass(frozen=True)
class UnfinishedTraining:
    """A training that was interrupted, or that goes on right now. `steps` is None before its first checkpoint."""

    folder: Path
    name: str
    steps: int | None
    bytes: int
    command: list[str]

    @property
    def in_words(self) -> str:
        done = "before its first checkpoint" if self.steps is None else f"at step {self.steps:,}"
        command = f" To go on: slimseq {shlex.join(self.command)}." if self.command else ""
        return (
            f"Unfinished training of {self.name}, {done}, {self.bytes / 1e6:,.1f} MB in {self.folder}.{command} "
            f"To give it up: rm -r {self.folder}"
        )


def training_folder(root: Path, task: Task, variant: str, key: str) -> Path:
    """Returns the folder of a training in a store. `key` is `sha256:` and a hash of what decides its result."""
    return root / FOLDER / task.value / f"{variant}-{key.removeprefix('sha256:')[:KEY_CHARACTERS]}"


def unfinished_trainings(root: Path) -> list[UnfinishedTraining]:
    """Returns the trainings of a store that are not finished."""
    found = []
    for folder in sorted((root / FOLDER).glob("*/*/")):
        command: list[str] = []
        with suppress(OSError, ValueError):
            command = list(map(str, json.loads((folder / COMMAND).read_text(encoding="utf-8"))))
        name = f"{folder.parent.name}/{folder.name.rpartition('-')[0]}"
        found.append(UnfinishedTraining(folder, name, _steps(folder), folder_bytes(folder), command))
    return found


@contextmanager
def resumable(context: Context, folder: Path, name: str, is_in_store: bool, is_anew: bool) -> Iterator[None]:
    """Keeps the folder of a training if the block is interrupted, and says how to go on.

    Args:
        context: where it is said.
        folder: of the training's checkpoint.
        name: of the variant, with its task.
        is_in_store: whether nobody named the folder. It is then removed when the training has ended.
        is_anew: whether what an earlier run left is discarded.
    """
    if is_anew:
        discard(folder)
        if is_in_store:
            _remove(folder)
    if is_in_store:
        with writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # `slimseq list` shows the command to whoever finds the folder later.
            (folder / COMMAND).write_text(json.dumps(sys.argv[1:]) + "\n", encoding="utf-8")
    try:
        yield
    except BaseException as error:
        # A training that diverged would diverge again from its checkpoint.
        is_worth_keeping = holds_progress(folder) and not isinstance(error, TrainingDiverged)
        if is_worth_keeping:
            context.say(_how_to_go_on(folder, name))
        elif is_in_store:
            _remove(folder)
        raise
    if is_in_store:
        _remove(folder)


def holds_progress(folder: Path) -> bool:
    """Whether a folder has something that the same command would go on from: a checkpoint, or a teacher's outputs."""
    return any((folder / name).exists() for name in (CURRENT, PREVIOUS, CACHE))


def discard(folder: Path) -> None:
    """Removes the checkpoints of a training. The log of its losses stays."""
    for name in (CURRENT, WRITING, PREVIOUS):
        shutil.rmtree(folder / name, ignore_errors=True)


def _how_to_go_on(folder: Path, name: str) -> str:
    steps = _steps(folder)
    done = "what its teacher wrote" if steps is None else f"step {steps:,}"
    return (
        f"The training of {name} is kept at {done}, in {folder} ({folder_bytes(folder) / 1e6:,.1f} MB). The same "
        f"command goes on from there; with --anew it starts anew. To give it up: rm -r {folder}"
    )


def _steps(folder: Path) -> int | None:
    """Returns the number of steps at the last checkpoint; None where there is none, or none that can be read."""
    for name in (CURRENT, PREVIOUS):
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(json.loads((folder / name / STATE).read_text(encoding="utf-8"))["progress"]["steps"])
    return None


def _remove(folder: Path) -> None:
    """Removes a training's folder, and those above it that are empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in (folder.parent, folder.parent.parent):
        with suppress(OSError):  # not empty, or not there
            parent.rmdir()
