import pytest

from slimseq.compression.training.attribution import without_attribution


@pytest.mark.parametrize(
    ("sentence", "plain"),
    [
        ("The bridge closed, police said.", "The bridge closed."),
        ("Nobody was hurt, a spokesman for the city said on Monday.", "Nobody was hurt."),
        ("Rents rose by 4%, according to the county.", "Rents rose by 4%."),
        ("According to him it rained.", "According to him it rained."),
        ('"It was loud," said Meyer.', '"It was loud," said Meyer.'),
        ("She said that it rained.", "She said that it rained."),
        ("", ""),
    ],
)
def test_a_clause_that_names_the_source_is_left_out(sentence: str, plain: str) -> None:
    assert without_attribution(sentence) == plain
