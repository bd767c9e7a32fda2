import numpy as np
import pytest

from slimseq.compression.train.embedded.extractive import (
    claim,
    excerpt,
    leading_sentences,
    without_attribution,
)
from slimseq.inference.text.sentences import sentences

DOCUMENT = (
    "London (CNN)The river rose by two metres on Monday. Nobody was hurt. "
    "Shops near the bridge stayed closed. The mayor will speak on Tuesday."
)
LONG_DOCUMENT = "Lyon (CNN)" + " ".join(f"Sentence {number} of this text says little." for number in range(60))
BODY = sentences(LONG_DOCUMENT.removeprefix("Lyon (CNN)"))


def test_a_lead_ends_with_the_sentence_that_makes_it_long_enough() -> None:
    assert leading_sentences(DOCUMENT, 8) == "The river rose by two metres on Monday."
    assert leading_sentences(DOCUMENT, 9) == "The river rose by two metres on Monday. Nobody was hurt."
    assert leading_sentences("", 9) is None


def test_a_claim_is_the_first_sentence_in_which_authors_say_what_they_do() -> None:
    abstract = "Networks are large. Here we carefully study small ones. We show that they are small."

    assert claim(abstract) == "Here we carefully study small ones."
    assert claim("Networks are large. This paper is short.") == "This paper is short."
    assert claim(DOCUMENT) is None


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


@pytest.mark.parametrize("seed", range(5))
def test_an_excerpt_is_a_run_of_sentences_after_the_dateline(seed: int) -> None:
    text = excerpt(LONG_DOCUMENT, 20, None, np.random.default_rng(seed))

    assert text.startswith("Lyon (CNN)")
    taken = sentences(text.removeprefix("Lyon (CNN)"))
    start = BODY.index(taken[0])
    assert taken == BODY[start : start + len(taken)]
    assert 20 <= sum(len(sentence.split()) for sentence in taken) <= 300 + 7


@pytest.mark.parametrize("seed", range(5))
def test_a_sentence_can_be_kept(seed: int) -> None:
    assert BODY[50] in excerpt(LONG_DOCUMENT, 5, BODY[50], np.random.default_rng(seed))


def test_a_short_document_stays_whole() -> None:
    assert excerpt("One is here. Two is there.", 20, None, np.random.default_rng(0)) == "One is here. Two is there."
    assert excerpt("", 20, None, np.random.default_rng(0)) == ""
