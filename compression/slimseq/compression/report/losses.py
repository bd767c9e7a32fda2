"""Reads the loss logs of trainings (`losses.jsonl`, one JSON object a step) and smooths them for plots."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimseq.compression.errors import BadData

LOSS_LOG = "losses.jsonl"
# The share of a run that the smoothed curve averages over.
SMOOTHED_SHARE = 0.01
# A plot cannot show more points.
MAX_POINTS = 1000


@dataclass(frozen=True)
class LossCurve:
    """The losses of one run, in nats a target token.

    Attributes:
        title: the log's folder, relative to the build.
        steps: numbers of optimizer steps, ascending.
        series: one loss for each step, by name: `loss` and, if the log has them, its parts.
    """

    title: str
    steps: tuple[int, ...]
    series: dict[str, tuple[float, ...]]


def read_loss_curves(build: Path) -> list[LossCurve]:
    """Reads all loss logs in a folder and its subfolders, sorted by title; empty logs are left out.

    Raises:
        BadData: a line is not the JSON object of a step; names file and line.
    """
    curves = []
    for path in sorted(build.rglob(LOSS_LOG)):
        entries = _entries(path)
        if entries:
            relative = path.parent.relative_to(build).as_posix()
            curves.append(_curve(build.resolve().name if relative == "." else relative, entries))
    return curves


def smoothed(values: Sequence[float]) -> list[float]:
    """Returns the exponential moving average of a series, over about a hundredth of its length.

    It has bias correction (Kingma and Ba 2015, section 3, https://arxiv.org/abs/1412.6980), so that the curve starts
    at the first value.
    """
    decay = 1 - 1 / max(len(values) * SMOOTHED_SHARE, 1)
    total, weight, means = 0.0, 0.0, []
    for value in values:
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        means.append(total / weight)
    return means


def thinned(values: Sequence[float]) -> list[float]:
    """Returns at most `MAX_POINTS` values at even distances, with the last one."""
    stride = max(1, math.ceil(len(values) / MAX_POINTS))
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
                break  # A running training may not have finished the last line.
            raise BadData(f"{path}: line {number} is not a JSON object with step and loss") from error
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
