"""Documents: a text with markup as sections, which are translated and written one after the other."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Written:
    """A text with its markup, and the texts in it that had to stay as they were."""

    text: str
    untranslated: tuple[str, ...] = ()


class Section(Protocol):
    """A part of a document that is written at once."""

    @property
    def texts(self) -> list[str]:
        """The texts to translate, at least one."""

    def written(self, translations: Sequence[str]) -> Written:
        """Returns the section with translations of `texts` in their places, and the markup before it."""


@dataclass
class Document:
    """A document.

    Args:
        sections: its sections. They add up to the document, with `after`.
        after: the markup after the last section.
        plain: the text of the document without markup, a line for each paragraph.
    """

    sections: list[Section] = field(default_factory=list)
    after: str = ""
    plain: str = ""

    @property
    def texts(self) -> list[str]:
        """The texts to translate, those of one section after the other."""
        return [text for section in self.sections for text in section.texts]

    def writing(self, translations: Sequence[str]) -> Generator[None, None, Written]:
        """Puts translations of `texts` in their places, in small steps.

        Returns:
            The document.
        """
        pieces: list[str] = []
        untranslated: list[str] = []
        start = 0
        for section in self.sections:
            count = len(section.texts)
            written = section.written(translations[start : start + count])
            pieces.append(written.text)
            untranslated += written.untranslated
            start += count
            yield
        return Written("".join([*pieces, self.after]), tuple(untranslated))
