"""Assembles the texts of a streamed request from its tokens, in reading order.

The rows of a batch grow in parallel, but the sentences of a text are sent one after the other: a sentence is held back
until those before it are complete. The pieces of a text add up to exactly the text of the final response.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from slimseq.app.serving.batching.request import before_stop, certain
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.segmenter import SegmentedText
from slimseq.inference.tokenizer import TextStream

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
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
        """Adds a token."""
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
        """Makes an assembly without tokens.

        Args:
            texts: the texts of the plan.
            new_stream: makes an incremental decoder for a row.
            eos_id: the end-of-sequence token.
            stops: stop strings.
            held: rows of which only the whole output is sent, since their tokens are not final.
        """
        self._eos_id = eos_id
        self._held = held
        self._texts: list[GrowingText] = []
        self._text_of_row: list[int] = []
        for index, text in enumerate(texts):
            self._texts.append(GrowingText(text, len(self._text_of_row)))
            self._text_of_row += [index] * len(text.segments)
        self._rows = [GrowingRow(new_stream(), stops) for _ in self._text_of_row]

    async def begin(self) -> list[Piece]:
        """Returns the texts that have no rows, such as those which are only numbers."""
        rowless = [index for index, text in enumerate(self._texts) if not text.segmented.segments]
        return [piece for index in rowless for piece in self._advance(index)]

    async def add(self, row: int, received: int | TextOutput) -> list[Piece]:
        """Adds a token or the output of a row. Returns the pieces to send."""
        return self.on_row(row, received) if isinstance(received, TextOutput) else self.on_token(row, received)

    def on_token(self, row: int, token: int) -> list[Piece]:
        """Adds a token of a row. Returns the pieces to send."""
        growing = self._rows[row]
        if growing.is_complete or row in self._held:
            return []
        if token == self._eos_id:
            growing.finish(before_stop(growing.text, growing.stops))
        else:
            growing.push(token)
        return self._advance(self._text_of_row[row])

    def on_row(self, row: int, output: TextOutput) -> list[Piece]:
        """Sets the output of a row. Returns the pieces to send."""
        self._rows[row].finish(output.text)
        return self._advance(self._text_of_row[row])

    def _advance(self, index: int) -> list[Piece]:
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
        return [Piece(index, added)] if added else []
