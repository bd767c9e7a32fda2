"""Numbers are the same in each notation, and a number that a translation lacks is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.numbers import find_numbers, lost_numbers, typed
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


@pytest.mark.parametrize(("text", "groups"), TABLES["a_number_is_the_same_in_each_notation"])
def test_a_number_is_the_same_in_each_notation(text: str, groups: list[list[str]]) -> None:
    assert [list(number.groups) for number in find_numbers(text)] == groups


@pytest.mark.parametrize(("source", "output", "lost"), TABLES["a_number_that_the_translation_lacks_is_lost"])
def test_a_number_that_the_translation_lacks_is_lost(source: str, output: str, lost: list[str]) -> None:
    assert lost_numbers(source, output) == lost


@pytest.mark.parametrize("space", ["\u00a0", "\u2007", "\u2009", "\u202f"])
def test_groups_of_digits_have_commas(space: str) -> None:
    assert typed(f"12{space}345{space}678 people") == "12,345,678 people"


@pytest.mark.parametrize("hyphen", ["\u2010", "\u2011", "\u2012"])
def test_hyphens_that_do_not_break_and_figure_dashes_are_plain_hyphens(hyphen: str) -> None:
    assert typed(f"12{hyphen}14{hyphen}2026") == "12-14-2026"


@pytest.mark.parametrize(("text", "expected"), TABLES["decimals_ranges_and_signs_belong_to_a_grouped_number"])
def test_decimals_ranges_and_signs_belong_to_a_grouped_number(text: str, expected: str) -> None:
    assert typed(text) == expected


@pytest.mark.parametrize("text", TABLES["what_may_be_a_year_or_a_phone_number_stays"])
def test_what_may_be_a_year_or_a_phone_number_stays(text: str) -> None:
    assert typed(text) == text


@given(st.text(alphabet="a12 .,-+()/\u00a0\u2009\u2011\u2013", max_size=40))
def test_places_stay_the_same(text: str) -> None:
    assert len(typed(text)) == len(text)
