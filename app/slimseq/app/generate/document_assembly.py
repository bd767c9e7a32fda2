"""Assembles the documents of a streamed request: a piece is a section, once all of its texts are translated.

The pieces of a document add up to exactly the text of the final response.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.app.generate.assembly import Piece
from slimseq.app.serving.documents.planner import Planner, Size
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.formats.document import Document, Section
from slimseq.inference.text.segmenter import Check, SegmentedText


@dataclass
class _Waiting:
    """A section that is not sent yet, and how many of its rows have no output. None: the end of a document."""

    document: int
    section: Section | None
    texts: Sequence[SegmentedText] = ()
    first_row: int = 0
    missing: int = 0


class DocumentAssembly:
    """The documents of a request. Used from the event loop; sections are written on a thread of the planner."""

    def __init__(self, documents: Sequence[Document], texts: Sequence[SegmentedText], planner: Planner) -> None:
        self._documents = documents
        self._planner = planner
        self._waiting: list[_Waiting] = []
        self._of_row: list[_Waiting] = []
        text = 0
        for index, document in enumerate(documents):
            for section in document.sections:
                own = texts[text : text + len(section.texts)]
                text += len(own)
                rows = sum(len(each.segments) for each in own)
                waiting = _Waiting(index, section, own, len(self._of_row), rows)
                self._waiting.append(waiting)
                self._of_row += [waiting] * rows
            self._waiting.append(_Waiting(index, None))
        self._outputs = [""] * len(self._of_row)
        self._sent = 0

    async def begin(self) -> list[Piece]:
        """Returns the pieces that can be sent, at first those that need no rows."""
        return await self._planner.run(self._write, Size.USUAL) if self._is_next_complete() else []

    async def add(self, row: int, received: int | TextOutput) -> list[Piece]:
        """Adds the output of a row; tokens say nothing yet. Returns the pieces to send."""
        if not isinstance(received, TextOutput):
            return []
        self._outputs[row] = received.text
        self._of_row[row].missing -= 1
        return await self.begin()

    def _is_next_complete(self) -> bool:
        return self._sent < len(self._waiting) and not self._waiting[self._sent].missing

    def _write(self, check: Check) -> list[Piece]:
        """Writes the sections that are complete."""
        pieces = []
        while self._is_next_complete():
            check()
            next_one = self._waiting[self._sent]
            if next_one.section is None:
                text = self._documents[next_one.document].after
            else:
                text = next_one.section.write(self._translations(next_one)).text
            if text:
                pieces.append(Piece(next_one.document, text))
            self._sent += 1
        return pieces

    def _translations(self, waiting: _Waiting) -> list[str]:
        translations = []
        row = waiting.first_row
        for text in waiting.texts:
            translations.append(text.join(self._outputs[row : row + len(text.segments)]))
            row += len(text.segments)
        return translations
