"""Marks without width in a line: no model reads them, and what comes out byte for byte has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.localization import is_exact
from slimseq.inference.text.numbers import without_marks
from slimseq.inference.text.sentences import Segment, split_sentences
from slimseq.inference.text.spans import Range

ZERO_WIDTH = ["\u00ad", "\u200b", "\u200c", "\u200d", "\u200e", "\u2060", "\u2066", "\ufeff"]


def segments(text: str, *ranges: Range) -> list[Segment]:
    return list(split_sentences(text, "en", is_protected=True, ranges=ranges).segments)


@pytest.mark.parametrize("mark", ZERO_WIDTH)
def test_words_and_numbers_are_read_without_marks(mark: str) -> None:
    [segment] = segments(f"The won{mark}derful 12{mark}345.6{mark}7 km{mark} and {mark}5\u20327\u2033 are here.")

    assert segment.text == "The wonderful 12345.67 km and 5\u20327\u2033 are here."
    assert [span.text for span in segment.spans] == ["12345.67 km", "5\u20327\u2033"]


@pytest.mark.parametrize("mark", ZERO_WIDTH)
@pytest.mark.parametrize(
    "span",
    [
        "https://exam|ple.com/a|b",
        "exam|ple.com/a",
        "jo|hn@ex|ample.com",
        "`a|b||c`",
        "<b title='a|b'>",
        "+49 30|12|34567",
    ],
)
def test_what_never_changes_keeps_its_marks(span: str, mark: str) -> None:
    written = span.replace("|", mark)

    [segment] = segments(f"So{mark} see {written} and 1{mark}2, for{mark} now.")

    assert segment.text == f"So see {written} and 12, for now."
    assert [each.text for each in segment.spans] == [written, "12"]


def test_given_ranges_keep_their_marks() -> None:
    text = "Press\u200b the \u200b[big\u00ad button]\u200b no\u00adw."

    [segment] = segments(text, (11, 24))

    assert segment.text == "Press the \u200b[big\u00ad button] now."
    assert segment.spans[0].text == text[11:24]


@pytest.mark.parametrize(
    "text", ["👨\u200d👩\u200d👧 family", "\u0645\u06cc\u200c\u062e\u0648 now", "ไทย\u200bไทย now"]
)
def test_joiners_that_have_a_meaning_stay(text: str) -> None:
    assert [segment.text for segment in segments(text)] == [text]


def test_without_protection_marks_stay() -> None:
    text = "The won\u00adderful 12\u2060345."

    assert split_sentences(text, "en").segments[0].text == text


@given(st.lists(st.sampled_from([*ZERO_WIDTH, "a", "12", " ", ".", "`", "/", "x.com", "<b>", "\n", "€"]), max_size=30))
def test_nothing_but_marks_is_lost(parts: list[str]) -> None:
    text = "".join(parts)

    segmented = split_sentences(text, "en", is_protected=True)

    joined = segmented.join([segment.text for segment in segmented.segments])
    assert "".join(without_marks(joined).split()) == "".join(without_marks(text).split())
    for segment in segmented.segments:
        assert all(segment.text[span.start : span.end] == span.text for span in segment.spans)
        assert all(without_marks(span.text) == span.text for span in segment.spans if not is_exact(span))
