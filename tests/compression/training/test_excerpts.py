import numpy as np
import pytest

from slimseq.compression.training.excerpts import excerpt
from slimseq.evaluation.sentences import sentences

DOCUMENT = "Lyon (CNN)" + " ".join(f"Sentence {number} of this text says little." for number in range(60))
BODY = sentences(DOCUMENT.removeprefix("Lyon (CNN)"))


@pytest.mark.parametrize("seed", range(20))
def test_an_excerpt_is_a_run_of_sentences_after_the_dateline(seed: int) -> None:
    text = excerpt(DOCUMENT, 20, None, np.random.default_rng(seed))

    assert text.startswith("Lyon (CNN)")
    taken = sentences(text.removeprefix("Lyon (CNN)"))
    start = BODY.index(taken[0])
    assert taken == BODY[start : start + len(taken)]
    assert 20 <= sum(len(sentence.split()) for sentence in taken) <= 300 + 7


def test_each_draw_takes_another() -> None:
    draw = np.random.default_rng(0)

    assert len({excerpt(DOCUMENT, 20, None, draw) for _ in range(20)}) > 10


@pytest.mark.parametrize("seed", range(20))
def test_a_sentence_can_be_kept(seed: int) -> None:
    assert BODY[50] in excerpt(DOCUMENT, 5, BODY[50], np.random.default_rng(seed))


def test_a_document_shorter_than_asked_stays_whole() -> None:
    assert excerpt("One is here. Two is there.", 20, None, np.random.default_rng(0)) == "One is here. Two is there."
    assert excerpt("", 20, None, np.random.default_rng(0)) == ""
