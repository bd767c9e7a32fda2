"""Months and weekdays of a summary that its source does not name are found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.calendar_names import CalendarNames, added_calendar_names, find_calendar_names
from slimseq.inference.text.names import WITHOUT_CASES
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)
# Parts of texts: names, words that are similar to names, and what may be beside them.
PIECES = [
    "Friday",
    "friday",
    "FRIDAY",
    "May",
    "may",
    "March",
    "Mar",
    "Fri",
    "Fridays",
    "2025",
    "3/5/2025",
    "in",
    "xMonday",
]
PIECES += [
    "segunda",
    "feira",
    "Mai",
    "Montag",
    "Sonnabend",
    "Samstag",
    "Maibaum",
    "\u0130",
    "\u0301",
    "_",
    "-",
    " ",
    ". ",
]


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


@pytest.mark.parametrize("language", ["en", "de", "pt", "es"])
@given(source=st.lists(st.sampled_from(PIECES)), summary=st.lists(st.sampled_from(PIECES)))
def test_a_name_that_is_a_word_of_the_source_is_always_known(
    language: str, source: list[str], summary: list[str]
) -> None:
    names = find_calendar_names(language)
    assert names is not None
    text = "".join(source)
    known = names.known(text)

    written: dict[int, str] = {}
    for found, name in names.find("".join(summary)):
        written.setdefault(found, name)

    added = [name for found, name in written.items() if found not in known]
    assert added_calendar_names(text, "".join(summary), language) == added
    assert all(found in known for found, name in written.items() if names.has_word(text, name))


def test_a_source_with_the_name_itself_is_not_read_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CalendarNames, "known", lambda *_: pytest.fail("all words of the source are read"))

    assert added_calendar_names("It rained on Friday, and on Monday.", "Rain on Monday and Friday.", "en") == []
