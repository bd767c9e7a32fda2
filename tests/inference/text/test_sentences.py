"""Texts are split into sentences, which add up to the text again, whatever its line breaks and length."""

from pathlib import Path

import pytest
import sentencex
from hypothesis import given, settings
from hypothesis import strategies as st

from slimseq.inference.text.sentences import _BREAKS, WINDOW_CHARACTERS, segments, sentences, split_sentences

ABBREVIATIONS = Path(__file__).parent / "abbreviations.txt"


def test_of_300_sentences_with_abbreviations_at_most_one_in_100_is_cut() -> None:
    lines = [line.split("| ") for line in ABBREVIATIONS.read_text(encoding="utf-8").splitlines()]

    found = [[each.text for each in split_sentences(" ".join(line), "en").segments] for line in lines]

    pairs = list(zip(found, lines, strict=True))
    cut_sentences = sum(max(0, len(own) - len(line)) for own, line in pairs)
    wrong_lines = sum(own != line for own, line in pairs)
    assert sum(map(len, lines)) == 300, "the file is whole"
    assert cut_sentences <= 3
    # sentencex joins four sentences, such as the one after "Inc.".
    assert wrong_lines <= 3 + 4


def test_abbreviations_do_not_end_a_sentence() -> None:
    text = "Dr. Smith lives in the U.S. with two dogs. They bark.  Nobody minds!"

    assert sentences(text) == ["Dr. Smith lives in the U.S. with two dogs.", "They bark.", "Nobody minds!"]


def test_a_blank_line_ends_a_sentence_and_empty_ones_are_left_out() -> None:
    assert sentences("A headline\n\nThe text follows.") == ["A headline", "The text follows."]
    assert sentences("  \n\n ") == []


def test_a_text_longer_than_a_window_has_the_sentences_that_it_has_whole() -> None:
    three_sentences = "Dr. Smith paid 3.5 million for it. He said so on May 3. Nobody knows why! "
    text = three_sentences * (2 * WINDOW_CHARACTERS // len(three_sentences))

    found = list(segments(text, "en"))

    assert "".join(found) == text
    assert found == [str(sentence) for sentence in sentencex.segment("en", text)]


def test_a_sentence_longer_than_windows_stays_one() -> None:
    long = "word " * WINDOW_CHARACTERS

    found = list(segments(f"Before. {long}end. After.", "en"))

    assert [each.strip() for each in found if each] == ["Before.", f"{long}end.", "After."]


def test_a_caller_gets_control_after_each_window_in_which_no_sentence_ends() -> None:
    found = list(segments("word " * WINDOW_CHARACTERS, "en"))

    # "word " has five characters, so there are five windows.
    assert found[:-1] == [""] * 4
    assert len(found[-1]) == 5 * WINDOW_CHARACTERS


TEXTS = [
    "One sentence.",
    "Two here. And there!",
    "First line.\nSecond line. With two.\r\n\r\n  Indented paragraph.\n",
    "\n\nBlank lines first.\n\t\nand last\n\n",
    "Dr. Smith paid 3.5 million, e.g. for a house. He moved on 3 May.",
    "No punctuation at all",
    "\ufeffA mark first.\n\u200eAnd here.\u200f\n\u200b\nLast\ufeff",
    "One\x0btwo\x0cthree\x1cfour\x1dfive\x1esix\x85seven\u2028eight\u2029nine\r\nten\releven\n\rtwelve",
    'He said "Stop." Then he left.\u2028Another separator.',
]


@pytest.mark.parametrize("text", TEXTS)
def test_joining_the_parts_gives_back_the_text(text: str) -> None:
    segmented = split_sentences(text, "en")

    assert segmented.join([segment.text for segment in segmented.segments]) == text


def test_marks_without_width_around_a_line_are_not_translated() -> None:
    segmented = split_sentences("\ufeffIt costs 5 euros.\n\u200b\n\u200eAnd more.\u200f", "en")

    assert [segment.text for segment in segmented.segments] == ["It costs 5 euros.", "And more."]
    assert segmented.join(["A", "B"]) == "\ufeffA\n\u200b\n\u200eB\u200f"


def test_spaces_between_sentences_become_one() -> None:
    segmented = split_sentences("One.   Two.", "en")

    assert segmented.join(["Eins.", "Zwei."]) == "Eins. Zwei."


def test_an_empty_output_leaves_no_double_space() -> None:
    segmented = split_sentences("One. Two. Three.", "en")

    assert segmented.join(["Eins.", "", "Drei."]) == "Eins. Drei."


def test_lines_are_those_of_python() -> None:
    text = TEXTS[-2] + "\n\n" + TEXTS[3]

    lines = [segment.text for segment in split_sentences(text, "en").segments]

    assert lines == [line.strip() for line in text.splitlines() if line.strip()]


LANGUAGES = st.sampled_from(["en", "de", "ja", "xx"])
# Long runs of what a splitter of sentences looks at.
looked_at = st.sampled_from([*".?!…。\"'()[]- \t", *_BREAKS, "e.g. ", "a", "A. ", "3.", "ß"])
runs = st.builds(lambda text, times: text * times, looked_at, st.integers(1, 1000))


def breaks(text: str) -> list[str]:
    return [character for character in text if character in _BREAKS]


@given(text=st.text() | st.lists(runs, max_size=6).map("".join), language=LANGUAGES)
@settings(max_examples=200)
def test_any_text_keeps_its_line_breaks(text: str, language: str) -> None:
    segmented = split_sentences(text, language)
    parts = [segment.text for segment in segmented.segments]

    assert breaks(segmented.join(parts)) == breaks(text)
    assert "".join(segmented.join(parts).split()) == "".join(text.split())
    assert all(part and part == part.strip() for part in parts)
