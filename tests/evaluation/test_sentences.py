from evaluation.sentences import sentences


def test_abbreviations_do_not_end_a_sentence() -> None:
    text = "Dr. Smith lives in the U.S. with two dogs. They bark.  Nobody minds!"

    assert sentences(text) == ["Dr. Smith lives in the U.S. with two dogs.", "They bark.", "Nobody minds!"]


def test_a_blank_line_ends_a_sentence_and_empty_ones_are_left_out() -> None:
    assert sentences("A headline\n\nThe text follows.") == ["A headline", "The text follows."]
    assert sentences("  \n\n ") == []
