"""Streamed documents: a section is sent once all of its sentences are translated, and those before it are sent."""

from collections.abc import Sequence

from slimseq.inference.generator import TextOutput
from slimseq.inference.text.assembly import DocumentAssembly, TextPiece
from slimseq.inference.text.formats.document import Document
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.sentences import split_sentences
from tests.inference.text.test_assembly import joined


class Stream:
    """A stream of documents whose sentences are shouted."""

    def __init__(self, *html: str) -> None:
        self.documents: Sequence[Document] = [read_html(each) for each in html]
        texts = [text for document in self.documents for text in document.texts]
        segmented = [split_sentences(text, "en") for text in texts]
        self.sentences = [segment.text for text in segmented for segment in text.segments]
        self.assembly = DocumentAssembly(self.documents, segmented)

    def pieces(self, *rows: int) -> list[TextPiece]:
        """Returns the pieces that these rows complete."""
        for row in rows:
            shouted = self.sentences[row].upper()
            output = TextOutput(shouted, "eos", input_tokens=1, output_tokens=1, truncated=False)
            self.assembly.add(row, output)
        return self.assembly.write()


def test_a_section_is_sent_once_all_of_its_sentences_are_translated() -> None:
    stream = Stream("<p>One. Two.</p><p>Three.</p>")

    first = stream.pieces(0)
    second = stream.pieces(1)
    third = stream.pieces(2)

    assert first == []
    assert second == [TextPiece(0, "<p>ONE. TWO.")]
    assert third == [TextPiece(0, "</p><p>THREE."), TextPiece(0, "</p>")]


def test_a_later_section_waits_for_those_before_it() -> None:
    stream = Stream("<p>One.</p><p>Two.</p>", "<p>Three.</p>")

    assert stream.pieces(2, 1) == []
    assert joined(stream.pieces(0)) == {0: "<p>ONE.</p><p>TWO.</p>", 1: "<p>THREE.</p>"}
