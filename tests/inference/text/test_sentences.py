from pathlib import Path

import sentencex

from slimseq.inference.text.sentences import WINDOW_CHARACTERS, segments, sentences, split_sentences

ABBREVIATIONS = Path(__file__).parent / "abbreviations.txt"


def test_of_300_sentences_with_abbreviations_at_most_one_in_100_is_cut() -> None:
    lines = [line.split("| ") for line in ABBREVIATIONS.read_text(encoding="utf-8").splitlines()]

    found = [[each.text for each in split_sentences(" ".join(line), "en").segments] for line in lines]

    assert sum(map(len, lines)) == 300
    assert sum(max(0, len(own) - len(line)) for own, line in zip(found, lines, strict=True)) <= 3
    # sentencex joins four, such as that after "Inc.".
    assert sum(own != line for own, line in zip(found, lines, strict=True)) <= 7


def test_abbreviations_do_not_end_a_sentence() -> None:
    text = "Dr. Smith lives in the U.S. with two dogs. They bark.  Nobody minds!"

    assert sentences(text) == ["Dr. Smith lives in the U.S. with two dogs.", "They bark.", "Nobody minds!"]


def test_a_blank_line_ends_a_sentence_and_empty_ones_are_left_out() -> None:
    assert sentences("A headline\n\nThe text follows.") == ["A headline", "The text follows."]
    assert sentences("  \n\n ") == []


def test_a_text_longer_than_a_window_has_the_sentences_that_it_has_whole() -> None:
    text = "Dr. Smith paid 3.5 million for it. He said so on May 3. Nobody knows why! " * (2 * WINDOW_CHARACTERS // 74)

    found = list(segments(text, "en"))

    assert "".join(found) == text
    assert found == [str(sentence) for sentence in sentencex.segment("en", text)]


def test_a_sentence_longer_than_windows_stays_one() -> None:
    long = "word " * WINDOW_CHARACTERS

    found = list(segments(f"Before. {long}end. After.", "en"))

    assert [each.strip() for each in found if each] == ["Before.", f"{long}end.", "After."]


def test_a_caller_gets_control_after_each_window_in_which_no_sentence_ends() -> None:
    found = list(segments("word " * WINDOW_CHARACTERS, "en"))

    assert found[:-1] == [""] * 4 and len(found[-1]) == 5 * WINDOW_CHARACTERS
