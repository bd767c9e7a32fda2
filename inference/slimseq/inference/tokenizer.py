"""Encodes text to ids and decodes ids to text with the `tokenizers` library; serving needs no transformers.

Of a very long text only the beginning is tokenized, since the model reads no more. `tokenizer_file` checks files before
the library reads them.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer as FastTokenizer
from tokenizers.decoders import DecodeStream

from slimseq.inference.alphabet import Alphabet
from slimseq.inference.tokenizer_file import read_checked
from slimseq.models_store.errors import InvalidArtifact, first_line
from slimseq.models_store.files import relative_to_store, short_name

# Characters of a text that are tokenized first, for each token that the model reads. English has about four characters
# a token, so this many nearly always fill the model's window.
CHARACTERS_A_TOKEN = 32
# Characters that are removed from generated texts: the C0 and C1 control characters but newline and tab, and U+FFFD,
# which stands for bytes that are no character. A model that samples tokens of single bytes may generate both.
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]")

# The class of pyo3 for panics of Rust, which derives from BaseException. There is no module to import it from.
PANIC = "PanicException"


@dataclass(frozen=True)
class ForcedOutput:
    """An output that is scored: its text, its ids, and the place `(start, end)` of each id in the text."""

    text: str
    ids: tuple[int, ...]
    places: tuple[tuple[int, int], ...]


@dataclass
class Encoding:
    """The ids of one text, special tokens included.

    `full_length` counts the ids before truncation. If `is_counted` is False, only the beginning of the text was
    tokenized, and the text has that many ids or more. A row with an `output` is not translated: its output is scored.
    """

    ids: list[int]
    full_length: int
    is_counted: bool = True
    output: ForcedOutput | None = None

    @property
    def is_truncated(self) -> bool:
        return self.full_length > len(self.ids)


# The file of an artifact's tokenizer, and a second file for outputs if they have another tokenizer than texts.
TOKENIZER = "tokenizer.json"
TARGET_TOKENIZER = "target_tokenizer.json"
# The most special tokens that a tokenizer may add to a text. Known tokenizers add the end token and a language's token.
MAX_MARKS = 4


class Tokenizer:
    """The tokenizer of one artifact: `tokenizer.json`, or another file of that format in its folder.

    Args:
        folder: the artifact's folder.
        name: the file's name.
        sources: how many tokens the model reads. Ids beyond them are left out: there are tokenizers that have more
            tokens than their model, such as facebook/bart-large-cnn's `<mask>`.
        targets: how many tokens the model writes.
    """

    def __init__(
        self, folder: Path, name: str = TOKENIZER, *, sources: int | None = None, targets: int | None = None
    ) -> None:
        self._fast = read_fast(folder / name)
        # What decodes generated ids.
        target = folder / TARGET_TOKENIZER
        self._target = read_fast(target) if name == TOKENIZER and target.exists() else self._fast
        self.folder = folder
        self.alphabet = Alphabet(self._fast, self._target)
        # 1 for each special token that is added to a text.
        with failures_refused(folder):
            mask = self._fast.encode("a").special_tokens_mask
        if sum(mask) > MAX_MARKS:
            raise InvalidArtifact(
                f"{short_name(folder / name)} adds {sum(mask)} tokens to a text, more than {MAX_MARKS}"
            )
        # How many special tokens follow a text, such as the end token, at least 1: truncation keeps them.
        self._suffix_length = 1
        if 0 in mask:
            self._suffix_length = max(1, mask[::-1].index(0))
        # By the id of a special token at the start or the end of a text: the id that replaces it.
        self._mark_replacements: dict[int, int] = {}
        self._sources = sources
        self._targets = targets

    def marked_with(self, token: str, instead_of: str) -> Self:
        """Returns a tokenizer that marks texts with another language's token."""
        other = copy(self)
        old, new = self.id_of(instead_of), self.id_of(token)
        other._mark_replacements = {} if old is None or new is None else {old: new}
        return other

    def encode(self, text: str, max_tokens: int) -> Encoding:
        """Encodes a text, truncated to `max_tokens` ids, special tokens included."""
        if len(text) <= CHARACTERS_A_TOKEN * max_tokens:
            with failures_refused(self.folder):
                ids = self._fast.encode(text).ids
            return self._truncated(ids, max_tokens, is_counted=True)
        return self.encode_many([text], max_tokens)[0]

    def encode_many(self, texts: Sequence[str], max_tokens: int) -> list[Encoding]:
        """Encodes texts as `encode` does. The library releases the interpreter lock while it encodes a batch.

        It does not note where tokens are in their texts, which takes a quarter of the time.

        The beginning of each text is encoded. If it has no more than `max_tokens` ids, twice as many characters are
        encoded, and so on.
        """
        # For each text, where its beginning ends.
        ends = [_end_at(text, CHARACTERS_A_TOKEN * max_tokens) for text in texts]
        found: dict[int, Encoding] = {}
        while len(found) < len(texts):
            remaining = [index for index in range(len(texts)) if index not in found]
            with failures_refused(self.folder):
                encoded = self._fast.encode_batch_fast([texts[index][: ends[index]] for index in remaining])
            for index, ids in zip(remaining, (each.ids for each in encoded), strict=True):
                is_whole = ends[index] == len(texts[index])
                if is_whole or len(ids) > max_tokens:
                    found[index] = self._truncated(ids, max_tokens, is_whole)
                ends[index] = _end_at(texts[index], 2 * ends[index])
        return [found[index] for index in range(len(texts))]

    def _truncated(self, ids: list[int], max_tokens: int, is_counted: bool) -> Encoding:
        """Returns ids as the model takes them: without unknown ids, with the language's token, and not too many."""
        if self._sources is not None and max(ids, default=0) >= self._sources:
            ids = [token for token in ids if token < self._sources]
        if self._mark_replacements and ids:
            # The token of a language is first or last.
            for place in (0, -1):
                ids[place] = self._mark_replacements.get(ids[place], ids[place])
        if len(ids) <= max_tokens:
            return Encoding(ids, len(ids), is_counted)
        suffix = ids[-self._suffix_length :]
        return Encoding([*ids[: max_tokens - self._suffix_length], *suffix], len(ids), is_counted)

    def encode_output(self, text: str, first: int | None, max_tokens: int) -> ForcedOutput:
        """Encodes an output to score, of at most `max_tokens` ids.

        `first` is the id that the model's outputs must begin with; None if there is none.
        """
        with failures_refused(self.folder):
            encoded = self._target.encode(text, add_special_tokens=first is None)
        pairs = [] if first is None else [(first, (0, 0))]
        for token, place in zip(encoded.ids, encoded.offsets, strict=True):
            if self._targets is None or token < self._targets:
                pairs.append((token, place))
        ids = tuple(token for token, _ in pairs)
        return ForcedOutput(text, ids[:max_tokens], tuple(place for _, place in pairs))

    def decode(self, ids: list[int]) -> str:
        """Decodes ids to text, without special tokens, control characters and broken characters."""
        return _UNWANTED.sub("", self.decode_exactly(ids)).strip()

    def decode_exactly(self, ids: list[int]) -> str:
        """Decodes ids to text without special tokens, as transformers does."""
        with failures_refused(self.folder):
            return str(self._target.decode(ids, skip_special_tokens=True))

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of each token, special tokens included."""
        return self._fast.get_vocab(with_added_tokens=True)

    def id_of(self, token: str) -> int | None:
        """Returns the id of a token, or None if the vocabulary does not have it."""
        return self._fast.token_to_id(token)

    def stream(self) -> "TextStream":
        return TextStream(self._target, self.folder)


def read_fast(path: Path) -> FastTokenizer:
    """Reads a file of the format of `tokenizer.json`, checked, for the library's own interface.

    Raises:
        InvalidArtifact: it cannot be read, or has a part that is refused.
    """
    text = read_checked(path)
    try:
        with failures_refused(path.parent):
            fast = FastTokenizer.from_str(text)
    except InvalidArtifact as error:
        reason = relative_to_store(first_line(error.__cause__ or error), path.parent)
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {reason}") from error
    fast.no_truncation()
    fast.no_padding()
    return fast


@contextmanager
def failures_refused(folder: Path) -> Iterator[None]:
    """Turns what the library raises for a tokenizer that does not work into `InvalidArtifact`.

    The library raises a bare `Exception`. For a panic it raises a class that is no `Exception`, and that would end a
    worker's thread.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != PANIC:
            raise
        raise InvalidArtifact(f"{short_name(folder / TOKENIZER)} does not work: {first_line(error)}") from error


class TextStream:
    """Decodes ids one by one. Ids of an incomplete character wait for the next ones."""

    def __init__(self, fast: FastTokenizer, folder: Path) -> None:
        self._fast, self._folder = fast, folder
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        """Returns the text that the id adds: empty for an incomplete character or a special token."""
        with failures_refused(self._folder):
            piece = self._stream.step(self._fast, token)
        return _UNWANTED.sub("", piece or "")


def _end_at(text: str, end: int) -> int:
    """Returns the index at which to cut a text: `end`, or the last space before it, so that no word is split."""
    if end >= len(text):
        return len(text)
    # Not before the middle, which is where the last beginning ended.
    space = text.rfind(" ", end // 2 + 1, end)
    return end if space < 0 else space
