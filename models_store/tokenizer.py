"""Text to ids and back with the `tokenizers` library alone, so that serving needs no transformers."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer
from tokenizers.decoders import DecodeStream

from models_store.errors import InvalidArtifact
from models_store.files import short_name


@dataclass(frozen=True)
class Encoding:
    """Ids of one text, specials included. `full_length` counts the ids before truncation."""

    ids: list[int]
    full_length: int

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
        """Encodes a text, dropping ids at its end (but not the closing specials) beyond `max_tokens`."""
        ids = self._fast.encode(text).ids
        if len(ids) <= max_tokens:
            return Encoding(ids, len(ids))
        return Encoding([*ids[: max_tokens - self._closing], *ids[-self._closing :]], len(ids))

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
