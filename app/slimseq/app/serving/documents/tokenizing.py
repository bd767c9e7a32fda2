"""Tokenizes texts in small steps, so that a long request does not hold up others."""

from collections.abc import Generator, Iterable, Iterator

from slimseq.inference.generator import TextGenerator
from slimseq.inference.tokenizer import Encoding

# Characters that are tokenized at once: a few milliseconds, at most 30.
PIECE_CHARACTERS = 8000


def encoding(
    generator: TextGenerator, texts: Iterable[str], prefix: str | None
) -> Generator[None, None, list[Encoding]]:
    """Encodes texts as `TextGenerator.encode` does, a piece in each step."""
    encodings: list[Encoding] = []
    for piece in pieces_of(texts):
        encodings += generator.encode_many(piece, prefix)
        yield
    return encodings


def pieces_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """Groups texts that are tokenized at once. A longer text is a group of its own."""
    piece: list[str] = []
    characters = 0
    for text in texts:
        if piece and characters + len(text) > PIECE_CHARACTERS:
            yield piece
            piece, characters = [], 0
        piece.append(text)
        characters += len(text)
    if piece:
        yield piece
