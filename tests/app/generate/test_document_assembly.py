import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pytest

from slimseq.app.generate.assembly import Piece
from slimseq.app.generate.document_assembly import DocumentAssembly
from slimseq.app.serving.documents.planner import Planner
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.formats.document import Document
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.segmenter import split_sentences


@pytest.fixture
def planner() -> Iterator[Planner]:
    planner = Planner()
    yield planner
    planner.close()


class Stream:
    """A stream of documents whose sentences are shouted."""

    def __init__(self, planner: Planner, *html: str) -> None:
        self.documents: Sequence[Document] = [read_html(each) for each in html]
        texts = [text for document in self.documents for text in document.texts]
        segmented = [split_sentences(text, "en") for text in texts]
        self.sentences = [segment.text for text in segmented for segment in text.segments]
        self.assembly = DocumentAssembly(self.documents, segmented, planner)

    def pieces(self, *rows: int) -> list[Piece]:
        """Returns the pieces that these rows complete."""

        async def added() -> list[Piece]:
            outputs = [(row, TextOutput(self.sentences[row].upper(), "eos", 1, 1, False)) for row in rows]
            return [piece for row, output in outputs for piece in await self.assembly.add(row, output)]

        return asyncio.run(added())

    def first(self) -> list[Piece]:
        return asyncio.run(self.assembly.begin())


def joined(pieces: Sequence[Piece]) -> dict[int, str]:
    texts: dict[int, str] = defaultdict(str)
    for piece in pieces:
        texts[piece.index] += piece.text
    return dict(texts)


def test_a_piece_comes_once_all_sentences_of_a_part_are_translated(planner: Planner) -> None:
    stream = Stream(planner, "<p>One. Two.</p><p>Three.</p>")

    first = stream.pieces(0)
    second = stream.pieces(1)
    third = stream.pieces(2)

    assert first == []
    assert second == [Piece(0, "<p>ONE. TWO.")]
    assert third == [Piece(0, "</p><p>THREE."), Piece(0, "</p>")]


def test_a_later_part_waits_for_those_before_it(planner: Planner) -> None:
    stream = Stream(planner, "<p>One.</p><p>Two.</p>", "<p>Three.</p>")

    assert stream.pieces(2, 1) == []
    assert joined(stream.pieces(0)) == {0: "<p>ONE.</p><p>TWO.</p>", 1: "<p>THREE.</p>"}


def test_documents_without_words_need_no_output(planner: Planner) -> None:
    stream = Stream(planner, "<hr>", "<p>One.</p>", "<br>")

    assert stream.first() == [Piece(0, "<hr>")]
    assert joined(stream.pieces(0)) == {1: "<p>ONE.</p>", 2: "<br>"}
    assert stream.first() == []
