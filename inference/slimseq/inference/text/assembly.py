"""Assembles streamed texts from tokens and outputs of rows, in reading order.

The rows of a batch grow in parallel, but the sentences of a text are sent one after the other: a sentence is held back
until those before it are complete. A document is sent in sections, each once all of its texts are translated. The
pieces of a text add up to exactly its final text, before a repair (`slimseq.inference.text.repair`).
"""

import itertools
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from slimseq.inference.generator import TextGenerator, TextOutput, before_stop, place_of_stop
from slimseq.inference.text.formats.document import Document, Section
from slimseq.inference.text.rows import Plan, join_outputs
from slimseq.inference.text.sentences import Check, SegmentedText, unchecked
from slimseq.inference.tokenizer import TextStream

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextPiece:
    """Text to append to an output. `index` is the position of the text in the request."""

    index: int
    text: str


@dataclass
class GrowingRow:
    """The text of a row so far, the number of its characters that were sent, and whether it is complete."""

    stream: TextStream
    stops: Sequence[str] = ()
    text: str = ""
    sent: int = 0
    is_complete: bool = False

    def push(self, token: int) -> None:
        self.text = (self.text + self.stream.push(token)).lstrip()

    def finish(self, text: str) -> None:
        """Sets the final text of the row, which replaces the text of its tokens."""
        if not text.startswith(self.text[: self.sent]):
            logger.warning("streamed text differs from the final text", extra={"characters": self.sent})
        self.text = text
        self.is_complete = True

    @property
    def final_text(self) -> str:
        """The text that can no longer change. Trailing space is held back, since the complete text has none."""
        return self.text.rstrip() if self.is_complete else final_part(self.text, self.stops).rstrip()


@dataclass
class GrowingText:
    """A text, and what was sent of it: whole segments, and of the next one maybe the lead and some characters.

    The lead of a segment is what is between it and the one before: a space, or line breaks.
    """

    segmented: SegmentedText
    first_row: int
    sent_segments: int = 0
    is_lead_sent: bool = False
    is_complete: bool = False


class Assembly:
    """The texts of a request. Used by one thread at a time."""

    def __init__(
        self,
        texts: Sequence[SegmentedText],
        new_stream: Callable[[], TextStream],
        eos_id: int,
        stops: Sequence[str] = (),
        rows_sent_whole: Collection[int] = (),
    ) -> None:
        self._eos_id = eos_id
        # The tokens of these rows are not final: further passes follow. Only their whole output is sent.
        self._rows_sent_whole = rows_sent_whole
        self._texts: list[GrowingText] = []
        self._text_of_row: list[int] = []
        for index, text in enumerate(texts):
            self._texts.append(GrowingText(text, len(self._text_of_row)))
            self._text_of_row += [index] * len(text.segments)
        self._rows = [GrowingRow(new_stream(), stops) for _ in self._text_of_row]

    def begin(self) -> list[TextPiece]:
        """Returns the pieces that need no row: texts without segments, such as "42"."""
        rowless = [index for index, text in enumerate(self._texts) if not text.segmented.segments]
        return [piece for index in rowless for piece in self._advance(index)]

    def on_token(self, row: int, token: int) -> list[TextPiece]:
        growing = self._rows[row]
        if growing.is_complete or row in self._rows_sent_whole:
            return []
        if token == self._eos_id:
            growing.finish(before_stop(growing.text, growing.stops))
        else:
            growing.push(token)
        return self._advance(self._text_of_row[row])

    def on_row(self, row: int, output: TextOutput) -> list[TextPiece]:
        self._rows[row].finish(output.text)
        return self._advance(self._text_of_row[row])

    def _advance(self, index: int) -> list[TextPiece]:
        """Returns what can be sent of a text now, as one piece, or no piece."""
        text = self._texts[index]
        segments = text.segmented.segments
        pieces: list[str] = []
        while text.sent_segments < len(segments):
            row = self._rows[text.first_row + text.sent_segments]
            pieces.append(_send_from_row(text, row))
            if not row.is_complete:
                break
            text.sent_segments += 1
            text.is_lead_sent = False
        if text.sent_segments == len(segments) and not text.is_complete:
            pieces.append(text.segmented.after)
            text.is_complete = True
        added = "".join(pieces)
        return [TextPiece(index, added)] if added else []


def _send_from_row(text: GrowingText, row: GrowingRow) -> str:
    """Returns what can be sent of the row of the next segment, and marks it as sent. Its lead comes first."""
    final_text = row.final_text
    lead = ""
    if (final_text or row.is_complete) and not text.is_lead_sent:
        lead = text.segmented.segments[text.sent_segments].lead(final_text)
        text.is_lead_sent = True
    added = final_text[row.sent :]
    row.sent = max(row.sent, len(final_text))
    return lead + added


def final_part(text: str, stops: Sequence[str]) -> str:
    """Returns the part of a growing text that is final: before a stop string, or before the beginning of one."""
    place = place_of_stop(text, stops)
    if place is not None:
        return text[:place]
    # The end of the text may be the beginning of a stop string. A whole one was looked for above.
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return text[:-length]
    return text


@dataclass
class _WaitingSection:
    """A section that is not sent yet, with its texts and rows. `section` is None for the end of a document.

    `document` is the place of the document in the request, `missing_rows` how many rows have no output yet.
    """

    document: int
    section: Section | None
    texts: Sequence[SegmentedText] = ()
    first_row: int = 0
    missing_rows: int = 0


class DocumentAssembly:
    """The documents of a request. Used by one thread at a time."""

    def __init__(self, documents: Sequence[Document], texts: Sequence[SegmentedText]) -> None:
        self._documents = documents
        # All sections in reading order, and the ends of the documents among them.
        self._sections: list[_WaitingSection] = []
        self._section_of_row: list[_WaitingSection] = []
        next_text = 0
        for index, document in enumerate(documents):
            for section in document.sections:
                own = texts[next_text : next_text + len(section.passages)]
                next_text += len(own)
                rows = sum(len(text.segments) for text in own)
                waiting = _WaitingSection(index, section, own, len(self._section_of_row), rows)
                self._sections.append(waiting)
                self._section_of_row += [waiting] * rows
            self._sections.append(_WaitingSection(index, None))
        self._outputs: dict[int, TextOutput] = {}
        self._sent_sections = 0

    def begin(self) -> list[TextPiece]:
        """Returns the pieces that need no row: markup, and documents without words."""
        return self.write()

    def add(self, row: int, output: TextOutput) -> None:
        """Takes the output of a row. `write` returns what can be sent then."""
        self._outputs[row] = output
        self._section_of_row[row].missing_rows -= 1

    def on_token(self, row: int, token: int) -> list[TextPiece]:
        return []

    def on_row(self, row: int, output: TextOutput) -> list[TextPiece]:
        self.add(row, output)
        return self.write()

    @property
    def is_next_complete(self) -> bool:
        """Whether `write` has a section to send: at first those that need no rows."""
        if self._sent_sections == len(self._sections):
            return False
        return self._sections[self._sent_sections].missing_rows == 0

    def write(self, check: Check = unchecked) -> list[TextPiece]:
        """Returns the pieces to send: the sections that are complete. It may take long."""
        pieces = []
        while self.is_next_complete:
            check()
            waiting = self._sections[self._sent_sections]
            if waiting.section is None:
                text = self._documents[waiting.document].after
            else:
                text = waiting.section.write(self._translations(waiting)).text
            if text:
                pieces.append(TextPiece(waiting.document, text))
            self._sent_sections += 1
        return pieces

    def _translations(self, waiting: _WaitingSection) -> list[TextOutput]:
        rows = itertools.count(waiting.first_row)
        return [join_outputs(text, [self._outputs[next(rows)] for _ in text.segments]) for text in waiting.texts]


def new_assembly(generator: TextGenerator, planned: Plan) -> Assembly | DocumentAssembly:
    """Returns what assembles the outputs of a plan: of documents section by section, of texts token by token."""
    if planned.documents is not None:
        return DocumentAssembly(planned.documents, planned.texts)
    eos_id = generator.configuration.eos_id
    return Assembly(planned.texts, generator.stream, eos_id, planned.prompt.stop, planned.passes.keys())
