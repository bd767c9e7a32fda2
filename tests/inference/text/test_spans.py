"""Spans that a translation must not change are found whole, in any window, and in bounded time."""

from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import (
    ProtectedSpan,
    find_spans,
    has_unprotected_words,
    windows,
    with_ranges,
    without_gaps,
)
from tests.cpu_time import cpu_seconds
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


def found(text: str, language: str = "en") -> list[tuple[SpanKind, str]]:
    return [(span.kind, span.text) for span in find_spans(text, language)]


def in_windows(text: str) -> list[str]:
    """Returns the texts of the spans, searched in windows."""
    spans: list[ProtectedSpan] = []
    for first, last in windows(text):
        start = max(first, spans[-1].end) if spans else first
        spans += find_spans(text, "en", (min(start, last), last))
    return [span.text for span in without_gaps(spans)]


@pytest.mark.parametrize(("text", "kind", "span"), TABLES["a_span_is_found_whole"])
def test_a_span_is_found_whole(text: str, kind: str, span: str) -> None:
    assert found(text) == [(SpanKind[kind], span)]


@pytest.mark.parametrize("text", TABLES["words_are_no_spans"])
def test_words_are_no_spans(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("space", [" ", "\u00a0"])
def test_a_year_beside_a_number_is_no_group_of_digits(space: str) -> None:
    assert found(f"in 2019{space}150 people") == [(SpanKind.NUMBER, "2019"), (SpanKind.NUMBER, "150")]


@pytest.mark.parametrize("hyphen", ["\u2010", "\u2011", "\u2012"])
@pytest.mark.parametrize("text", TABLES["spans_with_other_hyphens_are_those_with_plain_ones_and_stay_as_written"])
def test_spans_with_other_hyphens_are_those_with_plain_ones_and_stay_as_written(text: str, hyphen: str) -> None:
    expected = [(kind, span.replace("-", hyphen)) for kind, span in found(text)]

    assert expected
    assert found(text.replace("-", hyphen)) == expected


def test_english_words_belong_to_spans_of_english_only() -> None:
    assert found("Am 5 May 3.2 million", "de") == [(SpanKind.NUMBER, "5"), (SpanKind.NUMBER, "3.2")]


def test_quotes_after_a_number_are_no_primes() -> None:
    assert [span for _, span in found("'In the 90's' he was \"6\", or '7'.")] == ["90", "6", "7"]


def test_ranges_are_kept_in_place_of_the_spans_in_them() -> None:
    text = "Buy 12 apples for $3."

    spans = with_ranges(text, find_spans(text, "en"), [(4, 13)])

    assert [(span.kind, span.text) for span in spans] == [(SpanKind.KEPT, "12 apples"), (SpanKind.AMOUNT, "$3")]


def test_a_range_within_a_span_replaces_it() -> None:
    text = "See https://a.org/b now"

    spans = with_ranges(text, find_spans(text, "en"), [(8, 12), (14, 16)])

    assert [span.text for span in spans] == [text[8:12], text[14:16]]


def test_a_text_of_numbers_has_no_words() -> None:
    text = "1,299.99 + 5 km = {x}"

    assert not has_unprotected_words(text, find_spans(text, "en"))
    assert has_unprotected_words("5 apples", find_spans("5 apples", "en"))


# CPU time of one window, which holds the interpreter lock.
MAX_SECONDS = 0.05
# Texts that an expression might read again and again.
PATHOLOGICAL = [
    *(unit * (100_000 // len(unit)) for unit in TABLES["no_window_of_any_text_takes_long"]),
    "a" * 100_000 + "@",
    "a." * 50_000 + "1",
    "@" + "b." * 50_000,
    "http://x" + ")" * 100_000,
    "http://x" + "()" * 50_000,
    "$" * 100_000 + "5",
    "1" + "a" * 100_000,
    "`" + "a" * 100_000,
    "``" + "a`b`c " * 16_000,
    "<!--" + "<b" * 50_000,
    "<code>" + "a" * 100_000,
    "é" + "a®" * 50_000,
    "é" + "a" * 100_000 + "®",
    "1" + "\u2009234" * 25_000,
]


@pytest.mark.parametrize("text", PATHOLOGICAL, ids=lambda text: f"{text[:6]}…")
def test_no_window_of_any_text_takes_long(text: str) -> None:
    searches = [partial(find_spans, text, "en", window) for window in windows(text)]

    assert all(cpu_seconds(search, below=MAX_SECONDS) < MAX_SECONDS for search in searches)


def test_a_long_number_is_one_span() -> None:
    text = f"The number {'7' * 10_000} is long."

    assert in_windows(text) == ["7" * 10_000]


@pytest.mark.parametrize(
    "span",
    [
        f"`{'x = 1; ' * 1000}`",
        f"`{'x=1;' * 1000}`",
        f"``{'a`b ' * 1000}``",
        f"<div {'data-x=1 ' * 1000}>",
        f"<code>{'x = 1; ' * 1000}</code>",
        f"<!-- {'not now, ' * 1000} -->",
        f"{'a.b' * 1000}@example.com",
    ],
    ids=lambda span: f"{span[:6]}…",
)
@pytest.mark.parametrize("before", ["", "word " * 300, "Words, 7 of them " * 115, "word " * 1000])
def test_code_tags_and_addresses_of_any_length_are_one_span_wherever_they_begin(span: str, before: str) -> None:
    found = in_windows(f"{before}{span} and `code`.")

    assert found[-2:] == [span, "`code`"]
    assert all(each == "7" for each in found[:-2])


def test_a_long_url_is_one_span_to_its_end() -> None:
    url = f"https://example.com/{'a.b/' * 2000}c"

    # The URL goes on after the window.
    [first, *_] = find_spans(f"See {url}). Then", "en", (0, 2000))

    assert (first.kind, first.text) == (SpanKind.URL, url)


def test_windows_cover_a_text_and_end_at_spaces() -> None:
    text = "word " * 5000

    ranges = list(windows(text))

    assert "".join(text[start:end] for start, end in ranges) == text
    assert len(ranges) > 1
    assert all(text[end] == " " for _, end in ranges[:-1])


@given(
    st.text(alphabet="ab1 9.,:-+<>`{}@/$%&;#()[]°€x\u00a0\u2009\u2011\u2212é", max_size=80),
    st.sampled_from(["en", "de"]),
)
def test_spans_of_any_text_are_in_it_and_apart(text: str, language: str) -> None:
    spans = find_spans(text, language)

    assert all(span.start < span.end and span.text == text[span.start : span.end] for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))


@given(st.text(alphabet="ab1 9.,:-+<>`{}@/$%&;#()[]°€x\u2009", max_size=80))
def test_every_digit_of_a_text_belongs_to_a_span_or_to_a_word(text: str) -> None:
    covered = {place for span in find_spans(text, "en") for place in range(span.start, span.end)}

    for place, character in enumerate(text):
        assert not character.isdigit() or place in covered
