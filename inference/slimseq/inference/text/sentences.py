"""Splits text into sentences with `sentencex`: for lead-3, for ROUGE-Lsum and for long inputs."""

from collections.abc import Iterator

import sentencex

# Characters of one call, which holds the interpreter lock: less than 10 ms.
WINDOW_CHARACTERS = 100_000
# sentencex searches the end of each quotation and bracket in the rest of the text: 7 ns a mark and character.
QUOTATION_MARKS = "\"'`´“”„‟‘’‚‛«»‹›「」『』《》〈〉()[]{}（）【】"  # noqa: RUF001
MAX_COMPARISONS = 4_000_000


def sentences(text: str) -> list[str]:
    """Returns the sentences of an English text, stripped, without empty ones. A blank line ends a sentence."""
    stripped = (sentence.strip() for sentence in segments(text, "en"))
    return [sentence for sentence in stripped if sentence]


def segments(text: str, language: str) -> Iterator[str]:
    """Yields the sentences of a text with the spaces around them; their concatenation is the text.

    A long text is segmented in windows. Each begins after the last complete sentence. After a window in which no
    sentence ends, an empty string is yielded, so that a caller can do something else in between.

    Args:
        text: of any length.
        language: the language code, such as `en`.
    """
    pending: list[str] = []
    start = 0
    while start < len(text):
        window = _window(text, start)
        found = [str(sentence) for sentence in sentencex.segment(language, window)]
        is_last = start + len(window) == len(text)
        if not is_last and len(found) == 1:
            # No sentence ends in this window.
            pending.append(window)
            start += len(window)
            yield ""
            continue
        complete = found if is_last else found[:-1]
        start += len(window) if is_last else len(window) - len(found[-1])
        for sentence in complete:
            yield "".join([*pending, sentence])
            pending = []


def _window(text: str, start: int) -> str:
    """Returns the next window, shorter if it has many quotation marks."""
    window = text[start : start + WINDOW_CHARACTERS]
    while len(window) * sum(map(window.count, QUOTATION_MARKS)) > MAX_COMPARISONS:
        window = window[: len(window) // 2]
    return window
