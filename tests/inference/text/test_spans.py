from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.spans import (
    ProtectedSpan,
    SpanKind,
    find_spans,
    has_unprotected_words,
    windows,
    with_ranges,
    without_gaps,
)
from tests.cpu_time import cpu_seconds


def found(text: str, language: str = "en") -> list[tuple[SpanKind, str]]:
    return [(span.kind, span.text) for span in find_spans(text, language)]


def in_windows(text: str) -> list[str]:
    """Returns the texts of the spans, searched in windows."""
    spans: list[ProtectedSpan] = []
    for first, last in windows(text):
        start = max(first, spans[-1].end) if spans else first
        spans += find_spans(text, "en", (min(start, last), last))
    return [span.text for span in without_gaps(spans)]


@pytest.mark.parametrize(
    ("text", "kind", "span"),
    [
        ("The deal is worth £3.2 billion.", SpanKind.AMOUNT, "£3.2 billion"),
        ("It costs $1,299.99.", SpanKind.AMOUNT, "$1,299.99"),
        ("We owe -$5, she said.", SpanKind.AMOUNT, "-$5"),
        ("They raised $5m.", SpanKind.AMOUNT, "$5m"),
        ("It was 12.5% higher.", SpanKind.PERCENT, "12.5%"),
        ("It is 5 km long.", SpanKind.QUANTITY, "5 km"),
        ("It was -5 °C.", SpanKind.QUANTITY, "-5 °C"),
        ("It runs every 60 s.", SpanKind.QUANTITY, "60 s"),
        ("Copyright © Jane Miller.", SpanKind.SYMBOL, "©"),
        ("Slimseq™ is fast.", SpanKind.SYMBOL, "Slimseq™"),
        ("So good 😂 😂👍🏽!", SpanKind.SYMBOL, "😂 😂👍🏽"),
        ("The 👩\u200d🔬 and I", SpanKind.SYMBOL, "👩\u200d🔬"),
        ("Press 1\ufe0f\u20e3 now.", SpanKind.SYMBOL, "1\ufe0f\u20e3"),
        ("Mix 1 ½ cups of milk.", SpanKind.SYMBOL, "1 ½"),
        ("The house → the garden.", SpanKind.SYMBOL, "→"),
        ("In the 1990s it rained.", SpanKind.NUMBER, "1990"),
        ("Meet me at 3:30 p.m. on Monday.", SpanKind.TIME, "3:30 p.m."),
        ("Meet me at 3:30 p.m.", SpanKind.TIME, "3:30 p.m"),
        ("Meet me at 14:30.", SpanKind.TIME, "14:30"),
        ("On March 5, 2024, it rained.", SpanKind.DATE, "March 5, 2024"),
        ("On the 5th of May it rained.", SpanKind.DATE, "5th of May"),
        ("In Sept. 1999 it rained.", SpanKind.DATE, "Sept. 1999"),
        ("On 2024-03-05 it rained.", SpanKind.DATE, "2024-03-05"),
        ("The 21st guest came.", SpanKind.ORDINAL, "21st"),
        ("See https://example.com/a?b=1&c=(d).", SpanKind.URL, "https://example.com/a?b=1&c=(d)"),
        ("(See https://example.com/a.)", SpanKind.URL, "https://example.com/a"),
        ("See www.example.org!", SpanKind.URL, "www.example.org"),
        ("See docs.python.org/3/library.", SpanKind.URL, "docs.python.org/3/library"),
        ("Open src/main.py now.", SpanKind.URL, "src/main.py"),
        ("Mail john.doe+x@mail.example.co.uk.", SpanKind.EMAIL, "john.doe+x@mail.example.co.uk"),
        ("Call +49 30 1234567.", SpanKind.PHONE, "+49 30 1234567"),
        ("Call (555) 123-4567.", SpanKind.PHONE, "(555) 123-4567"),
        ("Run `pip install x` now.", SpanKind.CODE, "`pip install x`"),
        ("Run ``a `b` c`` now.", SpanKind.CODE, "``a `b` c``"),
        ("Hello {name}, hi.", SpanKind.CODE, "{name}"),
        ("Copying %s failed.", SpanKind.CODE, "%s"),
        ("A&nbsp;B", SpanKind.CODE, "&nbsp;"),
        ('An <img src="a.png"/> image', SpanKind.TAG, '<img src="a.png"/>'),
        ("The <code>main()</code> part", SpanKind.TAG, "<code>main()</code>"),
        ("They fear COVID-19.", SpanKind.IDENTIFIER, "COVID-19"),
        ("A 3D film.", SpanKind.IDENTIFIER, "3D"),
        ("A screen of 1920x1080.", SpanKind.IDENTIFIER, "1920x1080"),
        ("Version 2.0.1 is out.", SpanKind.NUMBER, "2.0.1"),
        ("A 7-year-old child.", SpanKind.NUMBER, "7"),
        ("In the mid-1990s.", SpanKind.NUMBER, "1990"),
        ("From 10-15 people.", SpanKind.NUMBER, "10-15"),
        ("About 2.5 million people.", SpanKind.NUMBER, "2.5 million"),
        ("About 12\u2009345\u2009678 people.", SpanKind.NUMBER, "12\u2009345\u2009678"),
        ("It costs €12\u202f345.50 now.", SpanKind.AMOUNT, "€12\u202f345.50"),
        ("It is 12\u00a0345\u00a0km long.", SpanKind.QUANTITY, "12\u00a0345\u00a0km"),
        ("He is 5\u2032 11\u2033 tall.", SpanKind.PRIMES, "5\u2032 11\u2033"),
        ("He is 5'11\" tall.", SpanKind.PRIMES, "5'11\""),
        ("He is 5\u2019 11\u201d tall.", SpanKind.PRIMES, "5\u2019 11\u201d"),
        ("It is at 48° 12\u2032 30.5\u2033 N.", SpanKind.PRIMES, "48° 12\u2032 30.5\u2033 N"),
        ("The slope is f\u2032(x).", SpanKind.PRIMES, "f\u2032"),
        ("On 5\u00a0May\u00a02024 it rained.", SpanKind.DATE, "5\u00a0May\u00a02024"),
        ("Call 555\u00a0123\u00a04567.", SpanKind.PHONE, "555\u00a0123\u00a04567"),
        ("Call +49\u00a030\u00a01234567.", SpanKind.PHONE, "+49\u00a030\u00a01234567"),
    ],
)
def test_a_span_is_found_whole(text: str, kind: SpanKind, span: str) -> None:
    assert found(text) == [(kind, span)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nothing is here.",
        "I may go, and x < y and y > z.",
        "and/or",
        "Mr. Smith etc.",
        "a@b",
        "`unclosed",
        "O\u2032Neill didn\u2032t",
    ],
)
def test_words_are_no_spans(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("space", [" ", "\u00a0"])
def test_a_year_beside_a_number_is_no_group_of_digits(space: str) -> None:
    assert found(f"in 2019{space}150 people") == [(SpanKind.NUMBER, "2019"), (SpanKind.NUMBER, "150")]


@pytest.mark.parametrize("hyphen", ["\u2010", "\u2011", "\u2012"])
@pytest.mark.parametrize(
    "text",
    [
        "on 12-14-2026 in",
        "On 2026-12-14T10:00 it",
        "pages 10-15 are",
        "Call 555-123-4567 now.",
        "from 5-7 p.m. daily",
        "a $5-million deal",
        "It was -5 °C.",
        "See foo-bar.com and a-b@x-y.org.",
        "the id 550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_spans_with_other_hyphens_are_those_with_plain_ones_and_stay_as_written(text: str, hyphen: str) -> None:
    expected = [(kind, span.replace("-", hyphen)) for kind, span in found(text)]

    assert expected and found(text.replace("-", hyphen)) == expected


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


PATHOLOGICAL = [
    "9" * 100_000,
    "1," * 50_000,
    "1." * 50_000,
    "1-" * 50_000,
    "9 " * 50_000,
    "<" * 100_000,
    "<a " * 30_000,
    "<!--" * 25_000,
    "`" * 100_001,
    "`a``" * 25_000,
    "{" * 100_000,
    "${{" * 30_000,
    "a@" * 50_000,
    "a" * 100_000 + "@",
    "a." * 50_000 + "1",
    "a/" * 50_000,
    "<code>" * 20_000,
    "@" + "b." * 50_000,
    "http://" * 15_000,
    "http://x" + ")" * 100_000,
    "http://x" + "()" * 50_000,
    "www." * 25_000,
    "+1 " * 30_000,
    "(555) " * 20_000,
    "A-1" * 30_000,
    "x1." * 30_000,
    "&#1" * 30_000,
    "%(" * 50_000,
    "May 5" * 20_000,
    "$" * 100_000 + "5",
    "1" + "a" * 100_000,
    "10:" * 30_000,
    "`" + "a" * 100_000,
    "``" + "a`b`c " * 16_000,
    "<!--" + "<b" * 50_000,
    "<code>" + "a" * 100_000,
    "<a `" * 25_000,
    "a.b@" * 25_000,
    "©" * 100_000,
    "😂 " * 50_000,
    "½ " * 50_000,
    "1 ½" * 30_000,
    "é" + "a®" * 50_000,
    "é" + "a" * 100_000 + "®",
    "1" + "\u2009234" * 25_000,
    "1\u2009234\u2009" * 15_000,
    "1\u2009234-" * 15_000,
    "1'" * 50_000,
    "1° 2' 3" * 15_000,
]


@pytest.mark.parametrize("text", PATHOLOGICAL, ids=lambda text: f"{text[:6]}…")
def test_no_window_of_any_text_takes_long(text: str) -> None:
    searches = [partial(find_spans, text, "en", window) for window in windows(text)]

    assert all(cpu_seconds(search, below=0.05) < 0.05 for search in searches)


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

    [first, *_] = find_spans(f"See {url}). Then", "en", (0, 2000))

    assert (first.kind, first.text) == (SpanKind.URL, url)


def test_windows_cover_a_text_and_end_at_spaces() -> None:
    text = "word " * 5000

    ranges = list(windows(text))

    assert "".join(text[start:end] for start, end in ranges) == text
    assert len(ranges) > 1 and all(text[end] == " " for _, end in ranges[:-1])


@given(
    st.text(alphabet="ab1 9.,:-+<>`{}@/$%&;#()[]°€x\u00a0\u2009\u2011\u2212é", max_size=80),
    st.sampled_from(["en", "de"]),
)
def test_spans_of_any_text_are_in_it_and_apart(text: str, language: str) -> None:
    spans = find_spans(text, language)

    assert all(span.start < span.end and span.text == text[span.start : span.end] for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    assert isinstance(spans, list) and all(isinstance(span, ProtectedSpan) for span in spans)


@given(st.text(alphabet="ab1 9.,:-+<>`{}@/$%&;#()[]°€x\u2009", max_size=80))
def test_every_digit_of_a_text_belongs_to_a_span_or_to_a_word(text: str) -> None:
    covered = {place for span in find_spans(text, "en") for place in range(span.start, span.end)}

    for place, character in enumerate(text):
        assert not character.isdigit() or place in covered
