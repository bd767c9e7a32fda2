import pytest

from slimseq.inference.text.numbers import added_numbers, find_numbers, lost_numbers
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


@pytest.mark.parametrize(("text", "groups"), TABLES["a_number_is_the_same_in_each_notation"])
def test_a_number_is_the_same_in_each_notation(text: str, groups: list[list[str]]) -> None:
    assert [list(number.groups) for number in find_numbers(text)] == groups


@pytest.mark.parametrize(("source", "output", "lost"), TABLES["a_number_that_the_translation_lacks_is_lost"])
def test_a_number_that_the_translation_lacks_is_lost(source: str, output: str, lost: list[str]) -> None:
    assert lost_numbers(source, output) == lost


@pytest.mark.parametrize(
    ("source", "summary", "added"),
    [
        ("The bridge cost 640,000 pounds in 2019.", "Bridge cost 640,000.", []),
        ("The bridge cost 640,000 pounds.", "Bridge cost 64,000.", ["64,000"]),
        ("Six of ten people came.", "6 of 10 came.", []),
        ("It was open on 24.12.2025.", "Open in 2025.", []),
        ("Many came.", "300 came.", ["300"]),
    ],
)
def test_a_number_that_only_the_summary_has_is_added(source: str, summary: str, added: list[str]) -> None:
    assert added_numbers(source, summary) == added
