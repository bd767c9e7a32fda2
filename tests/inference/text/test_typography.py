import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.numbers import typed


@pytest.mark.parametrize("space", ["\u00a0", "\u2007", "\u2009", "\u202f"])
def test_groups_of_digits_have_commas(space: str) -> None:
    assert typed(f"12{space}345{space}678 people") == "12,345,678 people"


@pytest.mark.parametrize("hyphen", ["\u2010", "\u2011", "\u2012"])
def test_hyphens_that_do_not_break_and_figure_dashes_are_plain_hyphens(hyphen: str) -> None:
    assert typed(f"12{hyphen}14{hyphen}2026") == "12-14-2026"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\u2009234.5", "1,234.5"),
        ("1\u2009234,5", "1,234.5"),
        ("-1\u202f234 °C", "-1,234 °C"),
        ("1\u202f200\u20132\u202f300", "1,200\u20132,300"),
        ("1\u202f200\u20112\u202f300", "1,200-2,300"),
        ("12\u2009345\u2009km", "12,345\u2009km"),
        ("12\u2009345, 6\u2009789.", "12,345, 6,789."),
    ],
)
def test_decimals_ranges_and_signs_belong_to_a_grouped_number(text: str, expected: str) -> None:
    assert typed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "in 2019\u00a0150 people",
        "12 345 678",
        "555\u00a0123\u00a04567",
        "+49\u00a0301\u00a0234",
        "(030)\u00a0123\u00a0456",
        "0171/123\u00a0456",
        "20-123\u00a0456",
        "3.141\u2009592\u2009653",
        "12\u202f345.678.9",
        "A1\u00a0234",
        "https://a.org/1\u2009234",
        "12\u00a034",
    ],
)
def test_what_may_be_a_year_or_a_phone_number_stays(text: str) -> None:
    assert typed(text) == text


@given(st.text(alphabet="a12 .,-+()/\u00a0\u2009\u2011\u2013", max_size=40))
def test_places_stay_the_same(text: str) -> None:
    assert len(typed(text)) == len(text)
