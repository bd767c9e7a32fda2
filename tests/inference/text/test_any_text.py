"""Any text is split and put together again: no line break is lost, and it takes no longer for any kind of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.sentences import _BREAKS, SegmentedText, split_sentences
from tests.cpu_time import cpu_seconds

# Of some thousand characters.
MOST_SECONDS = 0.25
LANGUAGES = st.sampled_from(["en", "de", "ja", "xx"])
# Long runs of what a splitter of sentences looks at.
looked_at = st.sampled_from([*".?!…。\"'()[]- \t", *_BREAKS, "e.g. ", "a", "A. ", "3.", "ß"])
runs = st.tuples(looked_at, st.integers(1, 1000))


def split(text: str, language: str) -> SegmentedText:
    assert cpu_seconds(lambda: split_sentences(text, language), below=MOST_SECONDS) < MOST_SECONDS
    return split_sentences(text, language)


def breaks(text: str) -> list[str]:
    return [character for character in text if character in _BREAKS]


def is_kept(text: str, language: str) -> None:
    segmented = split(text, language)
    parts = [segment.text for segment in segmented.segments]

    assert breaks(segmented.join(parts)) == breaks(text)
    assert "".join(segmented.join(parts).split()) == "".join(text.split())
    assert all(part and part == part.strip() for part in parts)


@given(text=st.text(), language=LANGUAGES)
def test_any_text_keeps_its_line_breaks(text: str, language: str) -> None:
    is_kept(text, language)


@given(parts=st.lists(runs, max_size=6), language=LANGUAGES)
def test_long_runs_of_punctuation_do_not_stall_the_planner(parts: list[tuple[str, int]], language: str) -> None:
    is_kept("".join(part * count for part, count in parts), language)


@pytest.mark.parametrize("word", ["`a{}` b ", '"a{}" b ', "`é{}` ß "])
def test_a_line_of_code_or_quotes_without_an_end_of_a_sentence_is_split_in_linear_time(word: str) -> None:
    line = "".join(word.format(number) for number in range(40_000))

    segmented = split_sentences(line, "en", is_protected=True)

    assert cpu_seconds(lambda: split_sentences(line, "en", is_protected=True), below=3) < 3
    assert segmented.join([segment.text for segment in segmented.segments]) == line
