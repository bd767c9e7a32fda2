"""Reads the loss logs that training leaves (`losses.jsonl`, one JSON object a step) and smooths them for a plot."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimseq.compression.errors import BadData

LOSS_LOG = "losses.jsonl"
# A hundredth of a run is what its smoothed curve averages over, and more points than these no plot can show.
SMOOTHED_SHARE = 0.01
SHOWN_POINTS = 1000


@dataclass(frozen=True)
class LossCurve:
    """One run. Losses are in nats a target token, as the log has them.

    Attributes:
        title: the log's folder, relative to the build.
        steps: numbers of optimizer steps, ascending.
        series: losses by name, one for each step: `loss`, and the parts that it is made of where the log has them.
    """

    title: str
    steps: tuple[int, ...]
    series: dict[str, tuple[float, ...]]


def read_loss_curves(build: Path) -> list[LossCurve]:
    """Reads every loss log below a folder, sorted by title; an empty log is left out.

    Raises:
        BadData: a line is not a step's JSON object; names file and line.
    """
    curves = []
    for path in sorted(build.rglob(LOSS_LOG)):
        entries = _entries(path)
        if entries:
            relative = path.parent.relative_to(build).as_posix()
            curves.append(_curve(build.resolve().name if relative == "." else relative, entries))
    return curves


def smoothed(values: Sequence[float]) -> list[float]:
    """Returns the running mean of a series, exponentially weighted over about a hundredth of its length.

    The weights of the first values are corrected for their missing past (Kingma and Ba 2015, section 3,
    https://arxiv.org/abs/1412.6980), so that the curve starts where the series does.
    """
    decay = 1 - 1 / max(len(values) * SMOOTHED_SHARE, 1)
    total, weight, means = 0.0, 0.0, []
    for value in values:
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        means.append(total / weight)
    return means


def thinned(values: Sequence[float]) -> list[float]:
    """Returns at most 1,000 values at even distances, the last among them."""
    stride = max(1, math.ceil(len(values) / SHOWN_POINTS))
    return list(values[::-stride][::-1])


def _entries(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            entry = {"step": int(entry["step"]), "loss": float(entry["loss"]), "parts": dict(entry.get("parts") or {})}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines):
                break  # A run that is still going may be in the middle of its last line.
            raise BadData(f"{path}: line {number} is not a step's JSON object with step and loss") from error
        if math.isfinite(entry["loss"]):
            entries.append(entry)
    return entries


def _curve(title: str, entries: Sequence[dict[str, Any]]) -> LossCurve:
    series = {"loss": tuple(entry["loss"] for entry in entries)}
    for name in entries[0]["parts"]:
        values = [entry["parts"].get(name) for entry in entries]
        if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            series[name] = tuple(values)
    return LossCurve(title, tuple(entry["step"] for entry in entries), series)
