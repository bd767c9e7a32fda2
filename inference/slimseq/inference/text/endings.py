"""Finds outputs that end in mid-sentence, such as "… said the number th".

An output does so where its generation ended at the limit of tokens, and also where a model has learned from targets
that were cut. Headlines end without a full stop, so a missing one alone says nothing. Time is linear in both texts.
"""

from collections.abc import Iterator

from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.sentences import sentences

# Closing quotation marks and brackets, and marks of Markdown, which may follow the end of a sentence.
_CLOSING = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb\u203a)]}>*_`\u300d\u300f\uff09"
# The marks that end a sentence, in any script.
_FINAL = ".!?\u2026\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964"
_SPACES = " \t\u00a0"
_LINE_ENDS = "\r\n"
# An output may be cut if its last four words are also in the source, one after the other. Complete outputs seldom look
# like that: of 10,000 reference headlines, fewer than one ends with four words after which the source goes on.
COPIED_WORDS = 4
# A word counts as broken if at least two letters are missing. The `s` of a plural is no break.
MIN_MISSING_LETTERS = 2
# Characters of an output's end that are compared and quoted.
MAX_END = 100
# Words at the end of an output that a warning quotes.
QUOTED_WORDS = 4
# Characters of a source that are looked at after the copied words.
_NEAR = 20


def unfinished_end(source: str, output: str, finish_reason: FinishReason) -> str | None:
    """Returns the last words of an output that ends in mid-sentence, else None. In doubt, it returns None.

    An output that did not end at the limit of tokens is compared with the source. It has to be a summary for that.
    """
    text = output.rstrip()
    # `stop`: the output ended before a text at which the user wants it to end.
    if not text or finish_reason == "stop":
        return None
    if _ends_sentence(text):
        is_unfinished = _breaks_number(source, text)
    else:
        is_unfinished = finish_reason == "length" or _breaks_off(source, text)
    return _quoted_end(text) if is_unfinished else None


def _quoted_end(text: str) -> str:
    return " ".join(text[-MAX_END:].split()[-QUOTED_WORDS:])


def _ends_sentence(text: str) -> bool:
    return text.rstrip(_CLOSING + _SPACES).endswith(tuple(_FINAL))


def _breaks_number(source: str, text: str) -> bool:
    """Whether what seems to be a full stop is a decimal point in the source: `rose 22.` of `rose 22.5`."""
    if not text.endswith(".") or not text[-2:-1].isdigit():
        return False
    # The word before the number is searched too, since another place may have the number without decimals.
    following = [*_following(source, " ".join(text[-MAX_END:].split()[-2:]))]
    return bool(following) and all(after[:1].isdigit() for after in following)


def _breaks_off(source: str, text: str) -> bool:
    """Whether a summary ends with words of its source, and the sentence goes on there.

    A headline may do so too. So the summary also has a whole sentence, or ends within a word.
    """
    if text[-1] in _CLOSING:
        return False
    words = text[-MAX_END:].split()[-COPIED_WORDS:]
    if len(words) < COPIED_WORDS:
        return False
    end = " ".join(words)
    following = [*_following(source, end)]
    if not following or any(_is_end(after) for after in following):
        return False
    return _breaks_word(source, end, following) or any(map(_ends_sentence, sentences(text)[:-1]))


def _following(source: str, end: str) -> Iterator[str]:
    """Yields what follows each place of some words in a source."""
    place = source.find(end)
    while place >= 0:
        after = place + len(end)
        yield source[after : after + _NEAR]
        place = source.find(end, after)


def _is_end(after: str) -> bool:
    """Whether a sentence or a line ends before what follows."""
    rest = after.lstrip(_CLOSING + _SPACES)
    return not rest or rest[0] in _FINAL or rest[0] in _LINE_ENDS


def _breaks_word(source: str, end: str, following: list[str]) -> bool:
    """Whether the last word of a summary is the beginning of a longer word of its source."""
    word = end.split()[-1]
    if not word.isalpha() or not all(after[:MIN_MISSING_LETTERS].isalpha() for after in following):
        return False
    if any(len(after) < MIN_MISSING_LETTERS for after in following):
        return False
    # If the source has the word elsewhere, it is a word and not a broken one.
    return word not in _words(source)


def _words(source: str) -> set[str]:
    return {word.strip(_CLOSING + _FINAL + ",;") for word in source.split()}
