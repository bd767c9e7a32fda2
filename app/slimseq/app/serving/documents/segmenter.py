"""Splits a text into segments for the model, and joins their outputs with the original spacing.

A translation model gets one sentence at a time. Line breaks, blank lines and indentation are kept exactly. A
summarization model gets the whole text as one segment.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from slimseq.evaluation.sentences import segments

JOINT = " "
# The line ends of `str.splitlines`, which would build all lines at once.
_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_LINE = re.compile(f"[^{_BREAKS}]*(?:\r\n|[{_BREAKS}])|[^{_BREAKS}]+")


@dataclass(frozen=True)
class Segment:
    """A segment of a text, and the characters before it: a space, or line breaks and indentation."""

    before: str
    text: str

    def lead(self, output: str) -> str:
        """Returns the characters before the segment's output: no space before an empty output."""
        return "" if self.before == JOINT and not output else self.before


@dataclass(frozen=True)
class SegmentedText:
    """The segments of a text in reading order, and the characters after the last one."""

    segments: Sequence[Segment]
    after: str

    def join(self, outputs: Sequence[str]) -> str:
        """Returns the text with an output in place of each segment."""
        joined = [segment.lead(output) + output for segment, output in zip(self.segments, outputs, strict=True)]
        return "".join(joined) + self.after


def whole(text: str) -> SegmentedText:
    """Returns a text as one segment."""
    return SegmentedText([Segment("", text)], "")


def splitting(text: str, language: str) -> Generator[int, None, SegmentedText]:
    """Splits a text into sentences, in small steps.

    Args:
        text: any text.
        language: the code of the text's language, such as `en`.

    Yields:
        The number of sentences so far, after each line and each sentence.

    Returns:
        The sentences, and the characters between them.
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
