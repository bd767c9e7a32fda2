"""The results of `compress` in a store: one file for each task, beside its artifacts.

A front has the variants that one run made of an original, of which no other is both better and faster, and says which
one was chosen and why. `<task>/fronts.json` has the newest front of each original. The page shows it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from slimseq.models_store.files import read_record, write_text, writing_to
from slimseq.models_store.json_record import Digest, Record
from slimseq.models_store.locks import store_lock
from slimseq.models_store.manifest import Task

FRONTS: Final = "fronts.json"
MAX_FRONTS_BYTES = 4 * 1024 * 1024


class FrontVariant(Record):
    """A variant of a front, as the run measured it."""

    variant: str
    digest: Digest | None = Field(
        default=None, description="Digest of the artifact that was measured. None if unknown."
    )
    title: str = Field(description="What it is, in a few words.")
    bytes: int = Field(ge=0)
    tokens_per_second: float = Field(ge=0)
    speed_up: float = Field(ge=0, description="Times the tokens a second of the original, in the same run.")
    retention: float = Field(description="Share of the original's quality that it keeps.")
    interval: tuple[float, float] = Field(description="95 % interval of the retention.")
    lower_bound: float = Field(description="One-sided 95 % lower bound, which is compared with the bar.")
    keeps: bool = Field(description="Whether the data shows that it keeps the bar.")
    is_chosen: bool = False


class StructureWorth(Record):
    """What one structure of the original costs in time, and what its removal would lose."""

    name: str
    seconds_share: float = Field(ge=0, description="Share of the time of one text.")
    loss: float = Field(ge=0, description="Divergence from the original's outputs, in nats a token.")


class Front(Record):
    """The result of one run."""

    original: str = Field(description="Name of the original.")
    digest: Digest = Field(description="Digest of the original.")
    keep: float = Field(description="The bar: the share of the original's quality that the chosen variant must keep.")
    metric: str = Field(description="Metric of the quality; `scorer` if a command of the user scored the outputs.")
    is_agreement: bool = Field(description="Whether retention is agreement with the original, and not quality.")
    aim: Literal["fastest", "smallest"] = Field(description="What is chosen among the variants that keep the bar.")
    within: str = Field(description="Time that the run was given, such as `60m`.")
    samples: int = Field(ge=1, description="Held-out pairs that confirmed the choice.")
    variants: list[FrontVariant] = Field(description="From the most to the least quality.")
    structures: list[StructureWorth] = Field(default=[], description="Parts of the original. Empty if not measured.")
    chosen: str | None = Field(description="Name of the chosen variant. None if no variant keeps the bar.")
    reason: str = Field(description="Why it was chosen, or what the best variant lacks.")
    remarks: list[str] = Field(default=[], description="What else the run found, a sentence each.")
    measured_at: str = Field(description="ISO 8601 date and time, UTC.")


class Fronts(Record):
    """The content of `fronts.json`."""

    schema_version: Literal[1] = 1
    fronts: list[Front]


def read_fronts(root: Path, task: Task) -> list[Front]:
    """Reads the fronts of a task; empty if `compress` made none in this store.

    Raises:
        InvalidArtifact: the file cannot be read.
    """
    path = root / task.value / FRONTS
    if not path.exists():
        return []
    return read_record(Fronts, path, root, MAX_FRONTS_BYTES).fronts


def add_front(root: Path, task: Task, front: Front) -> None:
    """Adds a front, in place of an earlier one of the same original.

    Raises:
        InvalidArtifact: the file that is there cannot be read.
        CannotWrite: the disk is full or read-only.
    """
    with writing_to(Path(task.value) / FRONTS), store_lock(root):
        others: Sequence[Front] = [each for each in read_fronts(root, task) if each.digest != front.digest]
        content = Fronts(fronts=[*others, front]).model_dump_json(indent=2) + "\n"
        write_text(root / task.value / FRONTS, content)
