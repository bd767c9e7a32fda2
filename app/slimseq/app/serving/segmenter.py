"""Splits a text into the parts that a model is given, and puts their outputs back where the parts stood.

A translation model reads one sentence at a time: lines are split into sentences, and line breaks, blank lines and
indentation stay exactly. A summarization model reads the text whole, as its only part.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from slimseq.evaluation.sentences import segments

JOINT = " "
# What ends a line for `str.splitlines`, which makes all lines at once.
_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_LINE = re.compile(f"[^{_BREAKS}]*(?:\r\n|[{_BREAKS}])|[^{_BREAKS}]+")


@dataclass(frozen=True)
class Segment:
    """One part of a text for the model, and what stands before it: a joint, or line breaks and indentation."""

    before: str
    text: str

    def lead(self, output: str) -> str:
        """Returns what to put before the part's output: no joint before an output that is empty."""
        return "" if self.before == JOINT and not output else self.before


@dataclass(frozen=True)
class SegmentedText:
    """A text as its parts in reading order, and what stands after the last."""

    segments: Sequence[Segment]
    after: str

    def join(self, outputs: Sequence[str]) -> str:
        """Returns the text with an output in place of each part."""
        joined = [segment.lead(output) + output for segment, output in zip(self.segments, outputs, strict=True)]
        return "".join(joined) + self.after


def whole(text: str) -> SegmentedText:
    """Takes a text as one part."""
    return SegmentedText([Segment("", text)], "")


def splitting(text: str, language: str) -> Generator[int, None, SegmentedText]:
    """Splits a text into its sentences, a little at a time.

    Args:
        text: any text.
        language: the code of the text's language, such as `en`.

    Yields:
        How many sentences there are so far, after each line and each sentence.

    Returns:
        The sentences, and what stands between them.
    """
    found: list[Segment] = []
    pending: list[str] = []
    for line in _lines(text):
        content = line.strip()
        if not content:
            pending.append(line)
            yield len(found)
            continue
        start = line.index(content[0])
        pending.append(line[:start])
        for sentence in segments(content, language):
            if stripped := sentence.strip():
                found.append(Segment("".join(pending), stripped))
                pending = [JOINT]
            yield len(found)
        pending = [line[start + len(content) :]]
    return SegmentedText(found, "".join(pending))


def _lines(text: str) -> Iterator[str]:
    """Yields a text's lines with their ends, those of `str.splitlines`."""
    return (match.group() for match in _LINE.finditer(text))
