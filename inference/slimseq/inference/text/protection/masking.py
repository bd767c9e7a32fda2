"""Masks spans: placeholders stand for them while a sentence is translated, and are replaced in the output.

A placeholder is a word or a number that models copy. None is in the sentence already. In the output each must be there
exactly once. A placeholder is set apart from letters and digits beside its span, as those of a tag are, by spaces that
are taken out again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.inference.text.numbers import is_whole
from slimseq.inference.text.protection.localization import Rendering
from slimseq.inference.text.protection.spans import ProtectedSpan

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Placeholder:
    """What stands for a span, what replaces it, and whether a space was added before or after it."""

    name: str
    replacement: str
    is_spaced_before: bool = False
    is_spaced_after: bool = False


@dataclass(frozen=True)
class Masked:
    """A sentence with placeholders."""

    text: str
    placeholders: tuple[Placeholder, ...]

    def restored(self, output: str) -> tuple[str, list[int]]:
        """Returns a translation with the spans in place of their placeholders.

        The numbers are those of the spans whose placeholder is not in the translation exactly once.
        """
        found: list[tuple[int, Placeholder]] = []
        lost: list[int] = []
        for index, placeholder in enumerate(self.placeholders):
            matches = re.finditer(re.escape(placeholder.name), output)
            places = [(match.start(), placeholder) for match in matches if _is_alone(output, match)]
            if len(places) != 1:
                lost.append(index)
            found += places
        pieces, start = [], 0
        for place, placeholder in sorted(found, key=lambda each: each[0]):
            before = output[start:place]
            pieces += [before.removesuffix(" ") if placeholder.is_spaced_before else before, placeholder.replacement]
            start = place + len(placeholder.name)
            if placeholder.is_spaced_after and output.startswith(" ", start):
                start += 1
        return "".join([*pieces, output[start:]]), lost


def mask(
    text: str, spans: Sequence[ProtectedSpan], renderings: Sequence[Rendering], names: Sequence[str]
) -> Masked | None:
    """Replaces spans by placeholders. Returns None if there are more spans than placeholders.

    Args:
        text: the sentence.
        spans: what to mask, in reading order.
        renderings: what to put back for each.
        names: candidates for placeholders. Those that the rest of the sentence has are not used.
    """
    if not spans:
        return Masked(text, ())
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(text)]
    rest = " ".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    words = {word.lower() for word in _WORD.findall(rest)}
    free = [each for each in names if each.lower() not in words]
    if len(free) < len(spans):
        return None
    pieces, start, placeholders = [], 0, []
    for span, rendering, name in zip(spans, renderings, free, strict=False):
        is_spaced_before = bool(_WORD.match(text[max(span.start - 1, 0) : span.start])) or (0 < span.start == start)
        is_spaced_after = bool(_WORD.match(text[span.end : span.end + 1]))
        pieces += [text[start : span.start], " " * is_spaced_before, name, " " * is_spaced_after]
        placeholders.append(Placeholder(name, rendering.text, is_spaced_before, is_spaced_after))
        start = span.end
    return Masked("".join([*pieces, text[start:]]), tuple(placeholders))


def _is_alone(output: str, match: re.Match[str]) -> bool:
    """Whether a placeholder is a word or a number of its own."""
    before, after = output[max(match.start() - 1, 0) : match.start()], output[match.end() : match.end() + 1]
    if _WORD.match(before) or _WORD.match(after):
        return False
    return not match[0].isdecimal() or is_whole(output, match.start(), match.end())
