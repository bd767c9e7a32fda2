"""What `benchmarks.peers` found, as data: a row for each system and setting, and what all were taken on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.taken import Taken


@dataclass(frozen=True)
class Setting:
    """How a model is measured: texts of a batch, and beams; 1 is greedy search."""

    model: str
    batch: int
    beams: int


@dataclass(frozen=True)
class Ratios:
    """One system beside another of the same setting.

    Args:
        medians: how many times as fast it is, by the medians of a batch's seconds.
        minima: the same by the minima.
        first_token: how many times as soon its first token comes, by medians.
        peak_bytes: its peak of memory by the other's.
    """

    medians: float
    minima: float
    first_token: float
    peak_bytes: float


@dataclass(frozen=True)
class Row:
    """One system under one setting.

    Args:
        setting: the setting.
        system: the system's name.
        layout: generations at a time x threads of each; the faster where there were several.
        layouts: tokens a second with each layout that was tried.
        repeats: how often a batch was timed.
        input_tokens: of a text, by the mean.
        new_tokens: of every output.
        tokens_per_second: of all outputs of a batch, at the median.
        p50_ms: median milliseconds of a batch.
        p95_ms: their 95th percentile.
        least_ms: their minimum.
        first_token_ms: median of a batch whose outputs have one token.
        loaded_bytes: what the process holds once the model is open.
        peak_bytes: the most that it held under this setting.
        ratios: to the baselines that were measured, by name.
    """

    setting: Setting
    system: str
    layout: str
    layouts: dict[str, float]
    repeats: int
    input_tokens: float
    new_tokens: int
    tokens_per_second: float
    p50_ms: float
    p95_ms: float
    least_ms: float
    first_token_ms: float
    loaded_bytes: int
    peak_bytes: int
    ratios: dict[str, Ratios] = field(default_factory=dict)

    def over(self, other: "Row") -> Ratios:
        """Returns this beside another."""
        return Ratios(
            medians=other.p50_ms / self.p50_ms,
            minima=other.least_ms / self.least_ms,
            first_token=other.first_token_ms / self.first_token_ms,
            peak_bytes=self.peak_bytes / other.peak_bytes,
        )


def with_ratios(rows: Sequence[Row], baselines: Sequence[str]) -> list[Row]:
    """Returns rows of one setting with ratios to those baselines that are among them."""
    found = {row.system: row for row in rows}
    bases = [found[name] for name in baselines if name in found]
    return [replace(row, ratios={base.system: row.over(base) for base in bases}) for row in rows]


@dataclass
class Results(Taken):
    """All of it.

    Args:
        settings: of the measurement.
        rows: by model and setting, in the order in which they were measured.
        left_out: why systems or models are not there, or not to the end, by `MODEL: SYSTEM` or `MODEL`.
    """

    settings: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> str:
        """Returns the results with each row's setting among its own fields."""
        found = asdict(self)
        found["rows"] = [row.pop("setting") | row for row in found["rows"]]
        return json.dumps(found, indent=2) + "\n"
