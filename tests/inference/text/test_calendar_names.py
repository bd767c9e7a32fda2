"""Months and weekdays of a summary that its source does not name are found."""

import pytest

from slimseq.inference.text.calendar_names import added_calendar_names, find_calendar_names
from slimseq.inference.text.names import WITHOUT_CASES
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


@pytest.mark.parametrize(
    ("source", "summary", "added"), TABLES["a_month_or_weekday_that_only_the_summary_has_is_added"]
)
def test_a_month_or_weekday_that_only_the_summary_has_is_added(source: str, summary: str, added: list[str]) -> None:
    assert added_calendar_names(source, summary, "en") == added


@pytest.mark.parametrize(("source", "summary"), TABLES["what_the_source_names_in_another_way_is_known"])
def test_what_the_source_names_in_another_way_is_known(source: str, summary: str) -> None:
    assert added_calendar_names("", summary, "en") != []
    assert added_calendar_names(source, summary, "en") == []


@pytest.mark.parametrize(("source", "summary"), TABLES["another_word_is_no_month"])
def test_another_word_is_no_month(source: str, summary: str) -> None:
    assert added_calendar_names(source, summary, "en") == []


@pytest.mark.parametrize(("language", "source", "summary", "added"), TABLES["each_language_has_its_names"])
def test_each_language_has_its_names(language: str, source: str, summary: str, added: list[str]) -> None:
    assert added_calendar_names(source, summary, language) == added


@pytest.mark.parametrize("language", sorted(WITHOUT_CASES))
def test_a_language_has_twelve_months_and_seven_weekdays(language: str) -> None:
    names = find_calendar_names(language)

    assert names is not None
    assert {*names.full.values()} == {*range(19)}
