"""Text to ids and back with the `tokenizers` library alone, so that serving needs no transformers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer
from tokenizers.decoders import DecodeStream

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import short_name

# Characters of a text's beginning that are tokenized first, for each token that the model reads. English has about
# four characters a token, so the beginning of a longer text nearly always fills the model's window.
CHARACTERS_A_TOKEN = 64


@dataclass(frozen=True)
class Encoding:
    """Ids of one text, specials included.

    `full_length` counts the ids before truncation; where `is_counted` is False the text has that many or more, since
    only its beginning was tokenized.
    """

    ids: list[int]
    full_length: int
    is_counted: bool = True

    @property
    def is_truncated(self) -> bool:
        """Whether the text was longer than what the ids cover."""
        return self.full_length > len(self.ids)


TOKENIZER = "tokenizer.json"


class Tokenizer:
    """One artifact's `tokenizer.json`, or another file of that kind in its folder."""

    def __init__(self, folder: Path, name: str = TOKENIZER) -> None:
        path = folder / name
        try:
            self._fast = FastTokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for everything
            raise InvalidArtifact(f"{short_name(path)} cannot be read: {error}") from error
        self._fast.no_truncation()
        self._fast.no_padding()
        self.folder = folder
        # The specials behind a text tell the encoder that it is over: they stay where a text is cut.
        mask = self._fast.encode("a").special_tokens_mask
        self._closing = max(1, mask[::-1].index(0) if 0 in mask else 1)

    def encode(self, text: str, max_tokens: int) -> Encoding:
        """Encodes a text, dropping ids at its end (but not the closing specials) beyond `max_tokens`.

        Of a text far longer than that only the beginning is tokenized.
        """
        return self._encoded([text], max_tokens, lambda parts: [self._fast.encode(part).ids for part in parts])[0]

    def encode_many(self, texts: Sequence[str], max_tokens: int) -> list[Encoding]:
        """Encodes texts as `encode` does, and lets other threads run meanwhile: the library does so for batches."""
        return self._encoded(texts, max_tokens, lambda parts: [each.ids for each in self._fast.encode_batch(parts)])

    def _encoded(
        self, texts: Sequence[str], max_tokens: int, encode: Callable[[list[str]], list[list[int]]]
    ) -> list[Encoding]:
        """Encodes the beginning of each text, and twice as much of those that do not fill `max_tokens` with it."""
        ends = [_end_at(text, CHARACTERS_A_TOKEN * max_tokens) for text in texts]
        found: dict[int, Encoding] = {}
        while places := [place for place in range(len(texts)) if place not in found]:
            for place, ids in zip(places, encode([texts[place][: ends[place]] for place in places]), strict=True):
                is_whole = ends[place] == len(texts[place])
                if is_whole or len(ids) > max_tokens:
                    found[place] = self._truncated(ids, max_tokens, is_whole)
                ends[place] = _end_at(texts[place], 2 * ends[place])
        return [found[place] for place in range(len(texts))]

    def _truncated(self, ids: list[int], max_tokens: int, is_counted: bool) -> Encoding:
        if len(ids) <= max_tokens:
            return Encoding(ids, len(ids), is_counted)
        return Encoding([*ids[: max_tokens - self._closing], *ids[-self._closing :]], len(ids), is_counted)

    def decode(self, ids: list[int]) -> str:
        """Turns ids into text, without specials."""
        return str(self._fast.decode(ids, skip_special_tokens=True)).strip()

    def id_of(self, token: str) -> int | None:
        """Returns a token's id, None where there is no such token."""
        number: int | None = self._fast.token_to_id(token)
        return number

    def word_ids(self) -> list[int]:
        """Returns the ids of pieces that have a letter or a digit in them and are no specials, ascending."""
        ids = self._fast.get_vocab(with_added_tokens=False).values()
        return sorted(token for token in ids if any(map(str.isalnum, self.decode([token]))))

    def stream(self) -> "TextStream":
        """Returns a decoder that gives the text of ids as they come."""
        return TextStream(self._fast)


class TextStream:
    """Decodes ids one by one, holding back those that do not complete a character yet."""

    def __init__(self, fast: FastTokenizer) -> None:
        self._fast = fast
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        """Returns the text that the id adds: empty while a character is incomplete, or for a special."""
        return self._stream.step(self._fast, token) or ""


def _end_at(text: str, end: int) -> int:
    """Returns where to cut a text: nowhere if it is short, else at a space, for tokenizers keep words apart there."""
    if end >= len(text):
        return len(text)
    space = text.rfind(" ", end // 2 + 1, end)
    return end if space < 0 else space
