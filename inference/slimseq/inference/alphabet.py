"""Which words a model can write: those whose letters are in its vocabulary.

A vocabulary lacks a letter if its tokenizer turns the letter into the unknown token, into nothing, or into single
bytes. A vocabulary of bytes can spell every letter, but for a letter that was frequent in training it has a token of
its own. Each `Tokenizer` has an `Alphabet`. `slimseq.inference.text.names` asks it for the words of a text that cannot
be written, and keeps them out of the translation.
"""

from collections.abc import Sequence
from functools import cached_property
from unicodedata import category

from tokenizers import Tokenizer as FastTokenizer

# Letters of European languages beyond ASCII.
EUROPEAN = "áàâäãåāăąæçćčďđéèêëēėęěğíìîïīįıłńňñóòôöõőøœřśšşșßťțúùûüūůűųýźžżþð"
# A vocabulary with a smaller share of these letters is narrow. Multilingual vocabularies have nearly all letters, and
# the embedded models a fifth.
NARROW_SHARE = 0.5
# Words that are tokenized at once, with the interpreter lock released.
WORDS_AT_ONCE = 1000
# Words whose answer is remembered. Each has at most some 100 characters.
MAX_REMEMBERED = 1000
# What a single token of bytes that are no whole character decodes to: U+FFFD, the replacement character.
_BROKEN_CHARACTER = "\ufffd"
# A word that all Latin vocabularies have. If its tokens do not add up to it, tokens cannot be compared with words.
_KNOWN_WORD = "the"
# A character that no vocabulary has: a noncharacter of Unicode.
_UNKNOWN_CHARACTER = "\U0010fffe"
# Removes white space, and the sign that stands for it in tokens of SentencePiece.
_WITHOUT_SPACES = str.maketrans("", "", " \u2581")


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
        # By word: whether it consists of tokens that are text. Windows of a text repeat words.
        self._has_word: dict[str, bool] = {}
        # By character: whether the vocabulary has it for certain. Characters other than letters count as known.
        self._is_known: dict[str, bool] = {}

    @cached_property
    def _is_comparable(self) -> bool:
        """Whether the texts of tokens add up to the text that was encoded. Else nothing is said to be lacking."""
        return self._is_spelled(_KNOWN_WORD, self._encode([_KNOWN_WORD])[0])

    @cached_property
    def _has_bytes(self) -> bool:
        """Whether the vocabulary has bytes. Then the letters beside a letter decide how it is tokenized."""
        [ids] = self._encode([_UNKNOWN_CHARACTER])
        return any(_BROKEN_CHARACTER in self._text_of(token) for token in ids)

    def has_letters(self, text: str) -> bool:
        """Whether the vocabulary has all letters of a text for certain."""
        if not self._is_comparable:
            return True
        characters = set(text)
        # One lookup after the other: a loop over the dictionary would fail where other threads add to it meanwhile.
        unseen = [each for each in characters if each not in self._is_known and not each.isascii()]
        # By their Unicode category: letters, and the marks that are part of them.
        letters = [each for each in unseen if category(each)[0] in "LM"]
        # In a vocabulary of bytes, a letter alone says nothing: each word must be looked at.
        known = [False] * len(letters) if self._has_bytes else self.has(letters)
        self._is_known.update(dict.fromkeys(unseen, True) | dict(zip(letters, known, strict=True)))
        return all(self._is_known.get(each, True) for each in characters)

    def has(self, words: Sequence[str]) -> list[bool]:
        """Returns for each word whether it consists of tokens that are text."""
        if not self._is_comparable:
            return [True] * len(words)
        has_word = self._has_word
        unseen = [word for word in dict.fromkeys(words) if word not in has_word]
        if unseen:
            # A copy, since other threads may read the old one.
            has_word = dict(has_word)
            for start in range(0, len(unseen), WORDS_AT_ONCE):
                batch = unseen[start : start + WORDS_AT_ONCE]
                for word, ids in zip(batch, self._encode(batch), strict=True):
                    has_word[word] = self._is_spelled(word, ids)
            self._has_word = has_word if len(has_word) <= MAX_REMEMBERED else {}
        return [has_word[word] for word in words]

    def _encode(self, words: list[str]) -> list[list[int]]:
        return [each.ids for each in self._fast.encode_batch(words, add_special_tokens=False)]

    def _is_spelled(self, word: str, ids: Sequence[int]) -> bool:
        """Whether the texts of a word's tokens add up to the word as the tokenizer normalizes it."""
        normalized = self._normalizer.normalize_str(word) if self._normalizer else word
        spelled = "".join(self._text_of(token) for token in ids)
        return spelled.translate(_WITHOUT_SPACES) == normalized.translate(_WITHOUT_SPACES)

    def _text_of(self, token: int) -> str:
        text = self._texts.get(token)
        if text is None:
            text = str(self._fast.decode([token], skip_special_tokens=False))
            self._texts[token] = text
        return text
