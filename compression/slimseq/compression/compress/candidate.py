"""A candidate of `compress`: a variant that it made, and what was measured of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from slimseq.compression.build.recipe import RecipeStep, RecipeVariant
from slimseq.models_store.manifest import Manifest


@dataclass(frozen=True)
class Candidate:
    """A variant to try: its name, and the steps of a recipe that make it from the original."""

    name: str
    title: str
    """What it is, in a few words for tables."""
    steps: tuple[Mapping[str, Any], ...]
    """Steps as a recipe has them, such as `{"quantize": {}}`."""

    @property
    def recipe_variant(self) -> RecipeVariant:
        return RecipeVariant(steps=[RecipeStep.model_validate(dict(step)) for step in self.steps])

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "steps": [dict(step) for step in self.steps]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(record["name"], record["title"], tuple(record["steps"]))


def served_bytes(manifest: Manifest) -> int:
    """Returns the bytes of a variant's smallest format."""
    return min(manifest.size.bytes_by_format.values())


@dataclass(frozen=True)
class FrontPoint:
    """One variant of the front, as the table, the pictures and `--json` show it."""

    variant: str
    title: str
    bytes: int
    tokens_per_second: float
    speed_up: float
    """Times the tokens a second of the original, in the same run."""
    retention: float
    interval: tuple[float, float]
    """95 % interval of the retention, on the confirming half of the dev data."""
    lower_bound: float
    """One-sided 95 % lower bound of the retention, which is compared with the bar."""
    keeps: bool
    """Whether the confirming half shows that it keeps the bar."""
    is_chosen: bool = False

    def record(self) -> dict[str, Any]:
        return asdict(self)
