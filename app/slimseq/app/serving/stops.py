"""Texts that end an output where they come: they are not a part of it."""

from collections.abc import Sequence
from dataclasses import replace

from slimseq.inference.generator import TextOutput


def place_of_stop(text: str, stops: Sequence[str]) -> int | None:
    """Returns where the first of the stops begins, None where there is none."""
    return min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)


def before_stop(text: str, stops: Sequence[str]) -> str:
    """Returns what comes before the first stop, without space at its end."""
    return text[: place_of_stop(text, stops)].rstrip()


def cut(output: TextOutput, stops: Sequence[str]) -> TextOutput:
    """Returns an output without what comes from the first stop on."""
    if place_of_stop(output.text, stops) is None:
        return output
    return replace(output, text=before_stop(output.text, stops), finish_reason="stop")


def certain(text: str, stops: Sequence[str]) -> str:
    """Returns the part of a growing text that stays whatever comes: before a stop, and before what may become one."""
    place = place_of_stop(text, stops)
    if place is not None:
        return text[:place]
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return text[:-length]
    return text
