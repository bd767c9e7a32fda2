"""The speeds that were measured on the machine that serves a store: one file for each task, beside its artifacts.

Manifests are copied, signed and kept in git, and their measurements may be of any machine. The speeds that this machine
measured, so that it can choose the fastest variant, are in `<task>/speeds.json`, by digest. Git ignores this file, and
a store works without it. `slimseq prepare` writes it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from slimseq.models_store.files import read_record, write_text, writing_to
from slimseq.models_store.json_record import Digest, Record
from slimseq.models_store.locks import store_lock
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import Performance

SPEEDS: Final = "speeds.json"
MAX_SPEEDS_BYTES = 16 * 1024 * 1024

Speeds = dict[Digest, list[Performance]]


class LocalSpeeds(Record):
    schema_version: Literal[1] = 1
    speeds: Speeds


def read_speeds(root: Path, task: Task) -> Speeds:
    """Reads the measurements of a task by the digest of the artifact; empty if none was made here.

    Raises:
        InvalidArtifact: the file cannot be read.
    """
    path = root / task.value / SPEEDS
    if not path.exists():
        return {}
    return read_record(LocalSpeeds, path, root, MAX_SPEEDS_BYTES).speeds


def write_speeds(root: Path, task: Task, speeds: Mapping[str, list[Performance]]) -> None:
    """Replaces the measurements of a task.

    Raises:
        CannotWrite: the disk is full or read-only.
    """
    content = LocalSpeeds(speeds=dict(speeds)).model_dump_json(indent=2) + "\n"
    with writing_to(Path(task.value) / SPEEDS), store_lock(root):
        write_text(root / task.value / SPEEDS, content)
