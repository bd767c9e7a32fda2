"""The shape of an attention."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Heads:
    """An attention's heads: how many, the width of each, and the factor of their scores."""

    count: int
    width: int
    scale: float = 1.0
