"""A number of a summary that its source lacks is found, also where it is a part of a number of the source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.added_numbers import added_numbers
from slimseq.inference.text.notation import find_notation
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


@pytest.mark.parametrize(("source", "summary", "added"), TABLES["a_number_that_only_the_summary_has_is_added"])
def test_a_number_that_only_the_summary_has_is_added(source: str, summary: str, added: list[str]) -> None:
    assert added_numbers(source, summary, ".") == added


@pytest.mark.parametrize(("source", "summary", "added"), TABLES["a_number_that_lost_its_head_is_added"])
def test_a_number_that_lost_its_head_is_added(source: str, summary: str, added: list[str]) -> None:
    assert added_numbers(source, summary, ".") == added


@pytest.mark.parametrize(("source", "summary", "added"), TABLES["what_stands_before_a_number_is_no_lost_head"])
def test_what_stands_before_a_number_is_no_lost_head(source: str, summary: str, added: list[str]) -> None:
    assert added_numbers(source, summary, ".") == added


@pytest.mark.parametrize(
    ("source", "summary", "added"), TABLES["a_number_that_lost_its_tail_at_the_end_of_a_sentence_is_added"]
)
def test_a_number_that_lost_its_tail_at_the_end_of_a_sentence_is_added(
    source: str, summary: str, added: list[str]
) -> None:
    assert added_numbers(source, summary, ".") == added


@pytest.mark.parametrize(("source", "summary", "added"), TABLES["a_rounded_number_is_not_added"])
def test_a_rounded_number_is_not_added(source: str, summary: str, added: list[str]) -> None:
    assert added_numbers(source, summary, ".") == added


@pytest.mark.parametrize(("language", "source", "summary", "added"), TABLES["a_decimal_is_one_of_its_language"])
def test_a_decimal_is_one_of_its_language(language: str, source: str, summary: str, added: list[str]) -> None:
    notation = find_notation(language)

    assert added_numbers(source, summary, notation.decimal if notation else None) == added


@given(st.text(alphabet="a019.,: \n", max_size=60), st.sampled_from([".", ",", None]))
def test_a_text_adds_nothing_to_itself(text: str, decimal: str | None) -> None:
    assert added_numbers(text, text, decimal) == []
