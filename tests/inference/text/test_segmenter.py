import pytest

from slimseq.inference.text.sentences import split_sentences

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

    assert lines == [part for line in text.splitlines() for part in [line.strip()] if part]
