"""Cuts text into sentences with the `sentencex` segmenter: for lead-3, for ROUGE-Lsum, and for what models read."""

from collections.abc import Iterator

import sentencex

# Characters that are segmented at once, during which no other thread of Python runs: less than 10 ms of work.
WINDOW_CHARACTERS = 100_000
# sentencex looks for the end of each quotation and bracket in all that follows: 7 ns a quotation mark and character.
QUOTATION_MARKS = "\"'`´“”„‟‘’‚‛«»‹›「」『』《》〈〉()[]{}（）【】"  # noqa: RUF001
MOST_COMPARISONS = 4_000_000


def sentences(text: str) -> list[str]:
    """Returns English text's sentences in order, stripped, without empty ones. A blank line always ends a sentence."""
    stripped = (sentence.strip() for sentence in segments(text, "en"))
    return [sentence for sentence in stripped if sentence]


def segments(text: str, language: str) -> Iterator[str]:
    """Yields a text's sentences as they stand, with the space around them: put together they are the text.

    A text longer than a window is segmented window by window, each from the end of the last sentence that is complete.

    Args:
        text: any text.
        language: its language's code, such as `en`.
    """
    held: list[str] = []
    start = 0
    while start < len(text):
        window = _window(text, start)
        found = [str(sentence) for sentence in sentencex.segment(language, window)]
        is_last = start + len(window) == len(text)
        if not is_last and len(found) == 1:
            # No sentence ends here: the next window goes on with this one.
            held.append(window)
            start += len(window)
            continue
        complete = found if is_last else found[:-1]
        start += len(window) if is_last else len(window) - len(found[-1])
        for sentence in complete:
            yield "".join([*held, sentence])
            held = []


def _window(text: str, start: int) -> str:
    """Returns what is segmented next: shorter where many quotation marks make it slow."""
    window = text[start : start + WINDOW_CHARACTERS]
    while len(window) * sum(map(window.count, QUOTATION_MARKS)) > MOST_COMPARISONS:
        window = window[: len(window) // 2]
    return window
