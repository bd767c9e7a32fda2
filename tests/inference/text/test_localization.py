"""Numbers, amounts, dates and times are written as the target language does, and nothing that is not surely one."""

import pytest

from slimseq.inference.text.localization import render, render_all
from slimseq.inference.text.spans import find_spans
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


def german(text: str) -> str:
    return render_all(text, find_spans(text, "en"), "en", "de")


@pytest.mark.parametrize(("english", "expected"), TABLES["english_spans_follow_the_rules_of_german"])
def test_english_spans_follow_the_rules_of_german(english: str, expected: str) -> None:
    assert german(english) == expected


@pytest.mark.parametrize("text", TABLES["what_is_not_surely_a_number_stays"])
def test_what_is_not_surely_a_number_stays(text: str) -> None:
    assert german(text) == text


@pytest.mark.parametrize(("target", "english", "expected"), TABLES["english_spans_follow_the_rules_of_any_target"])
def test_english_spans_follow_the_rules_of_any_target(target: str, english: str, expected: str) -> None:
    assert render_all(english, find_spans(english, "en"), "en", target) == expected


@pytest.mark.parametrize(("pair", "text", "expected"), TABLES["spans_are_read_in_the_notation_of_the_source"])
def test_spans_are_read_in_the_notation_of_the_source(pair: str, text: str, expected: str) -> None:
    source, target = pair.split("-")

    assert render_all(text, find_spans(text, source), source, target) == expected


@pytest.mark.parametrize(("source", "target"), [("xx", "en"), ("en", ""), ("en", "xx")])
def test_from_and_to_unknown_languages_nothing_changes(source: str, target: str) -> None:
    text = "$1,299.99 at 3:30 p.m. on March 5, 2024, a@b.com, 1\u202f234, 10\u201115"

    assert render_all(text, find_spans(text, source), source, target) == text


def forms(text: str, source: str = "en", target: str = "de") -> list[set[str]]:
    [span] = find_spans(text, source)
    return [set(numeral.forms) for numeral in render(span, source, target).numerals]


def test_a_translation_may_write_a_number_in_other_ways() -> None:
    assert forms("1,299.99") == [{"1.299,99", "1299,99"}]
    assert {"1\u202f299,99", "1\u00a0299,99", "1 299,99", "1299,99"} <= forms("1,299.99", target="fr")[0]
    assert {"15:30", "15.30"} <= forms("3:30 pm")[0]
    assert {"9:30", "09:30", "9h30"} <= forms("9:30 am", target="fr")[0]
    assert {"17", "17:00"} <= forms("5 pm", target="es")[0]
    assert forms("3.5") == [{"3.5", "3,5"}]
    assert forms("12345") == [{"12345", "12.345"}]


def test_a_number_in_another_notation_may_be_kept_or_have_its_separators_swapped() -> None:
    assert forms("1,299.99", "fr") == [{"1,299.99", "1.299,99", "1299.99"}]
    assert forms("15h30", "pt", "en") == [{"15:30", "15.30", "3:30"}]
