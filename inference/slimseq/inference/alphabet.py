"""Which words a model can write: those whose letters are in its vocabulary.

A vocabulary lacks a letter where its tokenizer has the unknown token for it, nothing, or single bytes: of a letter that
is frequent in its training, a vocabulary of bytes has a token. Each `Tokenizer` has an alphabet, and
`slimseq.inference.text.names` finds the words of a text that cannot be written.
"""

from collections.abc import Sequence
from functools import cached_property
from unicodedata import category

from tokenizers import Tokenizer as FastTokenizer

# Letters of European languages beyond ASCII.
EUROPEAN = "áàâäãåāăąæçćčďđéèêëēėęěğíìîïīįıłńňñóòôöõőøœřśšşșßťțúùûüūůűųýźžżþð"
# A vocabulary with a smaller share of them is narrow. Multilingual ones have nearly all, the embedded ones a fifth.
NARROW_SHARE = 0.5
# Words that are tokenized at once, with the interpreter lock released.
WORDS_AT_ONCE = 1000
# What a single token of bytes that are no whole character decodes to.
_BROKEN = "\ufffd"
# A word that all Latin vocabularies have. It shows whether tokens can be compared with words at all.
_USUAL_WORD = "the"
# A character that no vocabulary has.
_NO_CHARACTER = "\U0010fffe"
# White space, and what stands for it in tokens.
_SPACES = str.maketrans("", "", " \u2581")


class Alphabet:
    """What an artifact can read and write. It may be used from any thread.

    Args:
        source: the tokenizer of texts.
        target: the tokenizer of outputs. It is the same one, unless targets have a vocabulary of their own.
    """

    def __init__(self, source: FastTokenizer, target: FastTokenizer) -> None:
        self._source = _Vocabulary(source)
        self._target = self._source if target is source else _Vocabulary(target)

    @cached_property
    def is_narrow(self) -> bool:
        """Whether the model has seen few languages. Then names of others may come out wrong, whatever their letters."""
        return sum(self._source.has(EUROPEAN)) < NARROW_SHARE * len(EUROPEAN)

    def may_lack(self, text: str) -> bool:
        """Whether a text may have a word that the model cannot write. In most texts all letters are known."""
        return not text.isascii() and not (self._source.has_letters(text) and self._target.has_letters(text))

    def can_write(self, words: Sequence[str], *, is_copied: bool = True) -> list[bool]:
        """Returns for each word whether the model can read it and, if it `is_copied`, write it.

        A word has the space before it, if any: in a vocabulary of bytes, the space may be part of a token.
        """
        can_read = self._source.has(words)
        if self._target is self._source or not is_copied:
            return can_read
        return [read and written for read, written in zip(can_read, self._target.has(words), strict=True)]


class _Vocabulary:
    """The vocabulary of one tokenizer."""

    def __init__(self, fast: FastTokenizer) -> None:
        self._fast = fast
        self._normalizer = fast.normalizer
        # By id, what a token alone decodes to.
        self._texts: dict[int, str] = {}
        # By character, whether words with it are known. Other characters than letters do not count.
        self._characters: dict[str, bool] = {}

    @cached_property
    def _is_comparable(self) -> bool:
        return self._is_whole(_USUAL_WORD, self._encode([_USUAL_WORD])[0])

    @cached_property
    def _has_bytes(self) -> bool:
        """Whether the vocabulary has bytes. Then the letters beside a letter decide how it is tokenized."""
        [ids] = self._encode([_NO_CHARACTER])
        return any(_BROKEN in self._text_of(token) for token in ids)

    def has_letters(self, text: str) -> bool:
        """Whether the vocabulary has all letters of a text for certain."""
        if not self._is_comparable:
            return True
        characters = set(text)
        unseen = [each for each in characters - self._characters.keys() if not each.isascii()]
        letters = [each for each in unseen if category(each)[0] in "LM"]
        known = [False] * len(letters) if self._has_bytes else self.has(letters)
        self._characters |= dict.fromkeys(unseen, True) | dict(zip(letters, known, strict=True))
        return all(self._characters.get(each, True) for each in characters)

    def has(self, words: Sequence[str]) -> list[bool]:
        """Returns for each word whether it consists of tokens that are text."""
        if not self._is_comparable:
            return [True] * len(words)
        found = dict.fromkeys(words, False)
        different = [*found]
        for start in range(0, len(different), WORDS_AT_ONCE):
            some = different[start : start + WORDS_AT_ONCE]
            found |= {word: self._is_whole(word, ids) for word, ids in zip(some, self._encode(some), strict=True)}
        return [found[word] for word in words]

    def _encode(self, words: list[str]) -> list[list[int]]:
        return [each.ids for each in self._fast.encode_batch(words, add_special_tokens=False)]

    def _is_whole(self, word: str, ids: Sequence[int]) -> bool:
        read = self._normalizer.normalize_str(word) if self._normalizer else word
        tokens = "".join(self._text_of(token) for token in ids)
        return tokens.translate(_SPACES) == read.translate(_SPACES)

    def _text_of(self, token: int) -> str:
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = str(self._fast.decode([token], skip_special_tokens=False))
        return text
