"""Assembles the documents of a streamed request: a piece is a section, once all of its texts are translated.

The pieces of a document add up to exactly the text of the final response.
"""

from collections.abc import Sequence

from slimseq.app.serving.documents.document import Document
from slimseq.app.serving.documents.planner import Planner, Work
from slimseq.app.serving.documents.segmenter import SegmentedText
from slimseq.app.serving.streaming.assembly import Piece
from slimseq.inference.generator import TextOutput


class DocumentAssembly:
    """The documents of a request. Used from the event loop; sections are written on the planner's thread."""

    def __init__(self, documents: Sequence[Document], texts: Sequence[SegmentedText], planner: Planner) -> None:
        """Makes an assembly without outputs.

        Args:
            documents: of the plan.
            texts: of the plan.
            planner: writes.
        """
        self._documents = documents
        self._texts = texts
        self._planner = planner
        self._text_of_row = [index for index, text in enumerate(texts) for _ in text.segments]
        self._outputs: list[dict[int, str]] = [{} for _ in texts]
        # Where the next section of the document in progress is, and its first text.
        self._document = self._section = self._text = 0

    async def add(self, row: int, received: int | TextOutput) -> list[Piece]:
        """Adds the output of a row; tokens say nothing yet. Returns the pieces to send."""
        if not isinstance(received, TextOutput):
            return []
        self._outputs[self._text_of_row[row]][row] = received.text
        return await self._planner.run(self._written()) if self._is_next_complete() else []

    async def rest(self) -> list[Piece]:
        """Returns the pieces after the last output: documents that hold nothing to translate."""
        return await self._planner.run(self._written())

    def _is_next_complete(self) -> bool:
        """Whether the texts of the next section have their outputs."""
        if self._document == len(self._documents):
            return False
        sections = self._documents[self._document].sections
        if self._section == len(sections):
            return True
        texts = range(self._text, self._text + len(sections[self._section].texts))
        return all(len(self._outputs[text]) == len(self._texts[text].segments) for text in texts)

    def _written(self) -> Work[list[Piece]]:
        """Writes the sections that are complete, in small steps."""
        pieces = []
        while self._is_next_complete():
            document = self._documents[self._document]
            if self._section == len(document.sections):
                if document.after:
                    pieces.append(Piece(self._document, document.after))
                self._document += 1
                self._section = 0
                continue
            section = document.sections[self._section]
            texts = range(self._text, self._text + len(section.texts))
            translations = [
                self._texts[text].join([self._outputs[text][row] for row in sorted(self._outputs[text])])
                for text in texts
            ]
            pieces.append(Piece(self._document, section.written(translations).text))
            self._section += 1
            self._text = texts.stop
            yield
        return pieces
