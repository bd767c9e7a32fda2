"""Numbers of a sentence in its translation: which are missing, and which wrong number is surely replaced by which."""

import pytest

from slimseq.inference.text.localization import render_each
from slimseq.inference.text.masking import check
from slimseq.inference.text.spans import find_spans
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


def result(source: str, output: str, target: str = "de") -> str | None:
    """Returns the output if it has the numbers of its source, else the repaired one, None if that is not sure."""
    found = check(output, render_each(source, find_spans(source, "en"), "en", target))
    return found.repair() if found.missing else output


@pytest.mark.parametrize(("source", "output"), TABLES["numbers_that_came_out_are_left"])
def test_numbers_that_came_out_are_left(source: str, output: str) -> None:
    assert result(source, output) == output


@pytest.mark.parametrize(
    ("target", "source", "output"), TABLES["each_target_has_its_words_for_units_months_and_currencies"]
)
def test_each_target_has_its_words_for_units_months_and_currencies(target: str, source: str, output: str) -> None:
    assert result(source, output, target) == output


@pytest.mark.parametrize(
    ("source", "output", "repaired"), TABLES["a_wrong_number_is_replaced_where_it_is_sure_which_one"]
)
def test_a_wrong_number_is_replaced_where_it_is_sure_which_one(source: str, output: str, repaired: str) -> None:
    assert result(source, output) == repaired


@pytest.mark.parametrize(("source", "output"), TABLES["what_is_missing_otherwise_is_reported"])
def test_what_is_missing_otherwise_is_reported(source: str, output: str) -> None:
    assert result(source, output) is None


def test_a_number_within_a_longer_one_is_not_found() -> None:
    assert result("About 12 came.", "Etwa 3.12 kamen.") == "Etwa 12 kamen."
    assert result("About 12 came.", "Etwa 512 kamen.") == "Etwa 12 kamen."


@pytest.mark.parametrize(("source", "output", "expected"), TABLES["a_number_has_a_space_after_a_word"])
def test_a_number_has_a_space_after_a_word(source: str, output: str, expected: str) -> None:
    found = check(output, render_each(source, find_spans(source, "en"), "en", "de"))

    assert found.add_spaces(source) == expected
