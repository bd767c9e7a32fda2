"""A text with markup as sections, which are translated and written one after the other.

`html_document` and `markdown_document` read a text into a `Document`. `plan` makes rows of its passages. The document
puts their translations back into the markup.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from slimseq.inference.generator import TextOutput, joined
from slimseq.inference.text.errors import MarkupTooComplex
from slimseq.inference.text.formats.passages import Passage
from slimseq.inference.text.formats.tags import without_atoms

# Limit of the pieces of markup in all texts of a request: tags, references and comments, and the texts between them.
# When so many pieces are freed at once, the interpreter is held for about 20 ms.
MAX_PIECES = 100_000


@dataclass(frozen=True)
class Written:
    """A text with its markup, and the texts in it that had to stay as they were."""

    text: str
    untranslated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of a document that is written at once. `write` returns the markup before it and its translation."""

    passages: Sequence[Passage[Any]]
    # Takes the translations of the passages, in their order.
    write: Callable[[Sequence[TextOutput]], Written]


@dataclass
class Document:
    """The sections of a document and the markup after them, which add up to it.

    `plain` is the text of the document without markup, with a line for each paragraph. `pieces` counts its markup.
    """

    sections: list[Section] = field(default_factory=list)
    after: str = ""
    plain: str = ""
    pieces: int = 0

    @property
    def texts(self) -> list[str]:
        """The texts to translate, one section after the other."""
        return [passage.text for section in self.sections for passage in section.passages]

    def assemble(self, translations: Sequence[TextOutput]) -> "DocumentOutput":
        """Returns the output of the document, given the outputs of `texts`."""
        written = self.write(translations)
        whole = joined(written.text, translations)
        # A lost span that is only an atom is not missing: `write` puts all atoms back.
        lost = tuple(each for each in whole.lost if without_atoms(each))
        return DocumentOutput(**vars(whole) | {"lost": lost}, untranslated=written.untranslated)

    def write(self, translations: Sequence[TextOutput]) -> Written:
        """Puts translations of `texts` in their places."""
        remaining = iter(translations)
        written = [section.write([next(remaining) for _ in section.passages]) for section in self.sections]
        text = "".join(each.text for each in written) + self.after
        return Written(text, tuple(text for each in written for text in each.untranslated))


@dataclass(frozen=True)
class DocumentOutput(TextOutput):
    """The output for a document, and the texts in it that stayed as they were, so that its structure is kept."""

    untranslated: tuple[str, ...] = ()


def check_pieces(pieces: int, most: int) -> None:
    """Checks that a text has no more pieces of markup than the texts before it have left to it."""
    if pieces > most:
        raise MarkupTooComplex(
            f"the texts of a request may have {MAX_PIECES} tags, references and texts between them; send it in parts"
        )
