"""Splits a text into the parts that a model is given, and puts their outputs back where the parts stood.

A translation model reads one sentence at a time: lines are split into sentences with `sentencex`, and line breaks,
blank lines and indentation stay exactly. A summarization model reads the text whole, as its only part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sentencex

JOINT = " "


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


def sentences(text: str, language: str) -> SegmentedText:
    """Splits a text into its sentences; `language` is the code of the text's language, such as `en`."""
    segments: list[Segment] = []
    pending = ""
    for line in text.splitlines(keepends=True):
        content = line.strip()
        if not content:
            pending += line
            continue
        start = line.index(content[0])
        pending += line[:start]
        for sentence in sentencex.segment(language, content):
            if stripped := sentence.strip():
                segments.append(Segment(pending, stripped))
                pending = JOINT
        pending = line[start + len(content) :]
    return SegmentedText(segments, pending)
