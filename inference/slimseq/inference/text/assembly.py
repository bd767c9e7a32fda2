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
    """The text of a row so far, the number of characters that were sent, and whether it is complete."""

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
    def known(self) -> str:
        """The text that can no longer change. Trailing space is held back, since the final text has none."""
        return self.text.rstrip() if self.is_complete else certain(self.text, self.stops).rstrip()


@dataclass
class GrowingText:
    """A text: the row of its first segment, the number of segments sent, and whether the next one's lead was sent."""

    segmented: SegmentedText
    first_row: int
    sent_segments: int = 0
    is_complete: bool = False
    has_led: bool = False


class Assembly:
    """The texts of a request. Used by one thread at a time."""

    def __init__(
        self,
        texts: Sequence[SegmentedText],
        new_stream: Callable[[], TextStream],
        eos_id: int,
        stops: Sequence[str] = (),
        held: Collection[int] = (),
    ) -> None:
        self._eos_id = eos_id
        # Rows of which only the whole output is sent, since their tokens are not final.
        self._held = held
        self._texts: list[GrowingText] = []
        self._text_of_row: list[int] = []
        for index, text in enumerate(texts):
            self._texts.append(GrowingText(text, len(self._text_of_row)))
            self._text_of_row += [index] * len(text.segments)
        self._rows = [GrowingRow(new_stream(), stops) for _ in self._text_of_row]

    def begin(self) -> list[TextPiece]:
        rowless = [index for index, text in enumerate(self._texts) if not text.segmented.segments]
        return [piece for index in rowless for piece in self._advance(index)]

    def on_token(self, row: int, token: int) -> list[TextPiece]:
        growing = self._rows[row]
        if growing.is_complete or row in self._held:
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
        text = self._texts[index]
        segments = text.segmented.segments
        added = ""
        while text.sent_segments < len(segments):
            row = self._rows[text.first_row + text.sent_segments]
            known = row.known
            if (known or row.is_complete) and not text.has_led:
                added += segments[text.sent_segments].lead(known)
                text.has_led = True
            added += known[row.sent :]
            row.sent = max(row.sent, len(known))
            if not row.is_complete:
                break
            text.sent_segments += 1
            text.has_led = False
        else:
            added += "" if text.is_complete else text.segmented.after
            text.is_complete = True
        return [TextPiece(index, added)] if added else []


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


@dataclass
class _Waiting:
    """A section that is not sent yet, and how many of its rows have no output. None: the end of a document."""

    document: int
    section: Section | None
    texts: Sequence[SegmentedText] = ()
    first_row: int = 0
    missing: int = 0


class DocumentAssembly:
    """The documents of a request. Used by one thread at a time."""

    def __init__(self, documents: Sequence[Document], texts: Sequence[SegmentedText]) -> None:
        self._documents = documents
        self._waiting: list[_Waiting] = []
        self._of_row: list[_Waiting] = []
        text = 0
        for index, document in enumerate(documents):
            for section in document.sections:
                own = texts[text : text + len(section.passages)]
                text += len(own)
                rows = sum(len(each.segments) for each in own)
                waiting = _Waiting(index, section, own, len(self._of_row), rows)
                self._waiting.append(waiting)
                self._of_row += [waiting] * rows
            self._waiting.append(_Waiting(index, None))
        self._outputs: dict[int, TextOutput] = {}
        self._sent = 0

    def add(self, row: int, output: TextOutput) -> None:
        self._outputs[row] = output
        self._of_row[row].missing -= 1

    def on_token(self, row: int, token: int) -> list[TextPiece]:
        return []

    def on_row(self, row: int, output: TextOutput) -> list[TextPiece]:
        self.add(row, output)
        return self.write()

    @property
    def is_next_complete(self) -> bool:
        """Whether `write` has pieces to send: at first those that need no rows."""
        return self._sent < len(self._waiting) and not self._waiting[self._sent].missing

    def write(self, check: Check = unchecked) -> list[TextPiece]:
        """Returns the pieces to send: the sections that are complete. It may take long."""
        pieces = []
        while self.is_next_complete:
            check()
            next_one = self._waiting[self._sent]
            if next_one.section is None:
                text = self._documents[next_one.document].after
            else:
                text = next_one.section.write(self._translations(next_one)).text
            if text:
                pieces.append(TextPiece(next_one.document, text))
            self._sent += 1
        return pieces

    begin = write

    def _translations(self, waiting: _Waiting) -> list[TextOutput]:
        rows = itertools.count(waiting.first_row)
        return [join_outputs(text, [self._outputs[next(rows)] for _ in text.segments]) for text in waiting.texts]


def new_assembly(generator: TextGenerator, planned: Plan) -> Assembly | DocumentAssembly:
    if planned.documents is not None:
        return DocumentAssembly(planned.documents, planned.texts)
    eos_id = generator.configuration.eos_id
    return Assembly(planned.texts, generator.stream, eos_id, planned.prompt.stop, planned.passes.keys())
