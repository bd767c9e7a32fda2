"""Stop strings: an output ends before the first one."""

from collections.abc import Sequence
from dataclasses import replace

from slimseq.inference.generator import TextOutput


def place_of_stop(text: str, stops: Sequence[str]) -> int | None:
    """Returns the position of the first stop string, None if there is none."""
    return min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)


def before_stop(text: str, stops: Sequence[str]) -> str:
    """Returns the text before the first stop string, without trailing space."""
    return text[: place_of_stop(text, stops)].rstrip()


def cut(output: TextOutput, stops: Sequence[str]) -> TextOutput:
    """Returns an output that ends before the first stop string."""
    if place_of_stop(output.text, stops) is None:
        return output
    return replace(output, text=before_stop(output.text, stops), finish_reason="stop")


def certain(text: str, stops: Sequence[str]) -> str:
    """Returns the part of a growing text that is final: before a stop string, or before the beginning of one."""
    place = place_of_stop(text, stops)
    if place is not None:
        return text[:place]
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return text[:-length]
    return text
