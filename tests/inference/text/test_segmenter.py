import pytest

from slimseq.inference.text.sentences import SegmentedText, split_sentences

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


def sentences(text: str, language: str) -> SegmentedText:
    return split_sentences(text, language)


@pytest.mark.parametrize("text", TEXTS)
def test_joining_the_parts_gives_back_the_text(text: str) -> None:
    segmented = sentences(text, "en")

    assert segmented.join([segment.text for segment in segmented.segments]) == text


def test_a_text_is_split_at_its_sentences_and_lines() -> None:
    segmented = sentences("Dr. Smith is here. He waits.\n\nA new paragraph", "en")

    assert [segment.text for segment in segmented.segments] == ["Dr. Smith is here.", "He waits.", "A new paragraph"]


def test_marks_without_width_around_a_line_are_not_translated() -> None:
    segmented = sentences("\ufeffIt costs 5 euros.\n\u200b\n\u200eAnd more.\u200f", "en")

    assert [segment.text for segment in segmented.segments] == ["It costs 5 euros.", "And more."]
    assert segmented.join(["A", "B"]) == "\ufeffA\n\u200b\n\u200eB\u200f"


def test_spaces_between_sentences_become_one() -> None:
    segmented = sentences("One.   Two.", "en")

    assert segmented.join(["Eins.", "Zwei."]) == "Eins. Zwei."


def test_an_empty_output_leaves_no_double_space() -> None:
    segmented = sentences("One. Two. Three.", "en")

    assert segmented.join(["Eins.", "", "Drei."]) == "Eins. Drei."


@pytest.mark.parametrize("span", [f"`{'f(x); ' * 700}`", f"<a href='{'b' * 4000}'>", f"{'a.' * 1500}b@example.com"])
def test_long_code_tags_and_addresses_are_protected_whole(span: str) -> None:
    [segment] = split_sentences(f"Write to {span} and wait.", "en", is_protected=True).segments

    assert [each.text for each in segment.spans] == [span]


def test_a_long_url_is_protected_whole_and_once() -> None:
    url = f"http://a.de/{'b.c/1,' * 2000}d"

    [segment] = split_sentences(f"See {url} and 12345678.", "en", is_protected=True).segments

    assert [span.text for span in segment.spans] == [url, "12345678"]


def test_lines_are_those_of_python() -> None:
    text = TEXTS[-2] + "\n\n" + TEXTS[3]

    lines = [segment.text for segment in sentences(text, "en").segments]

    assert lines == [part for line in text.splitlines() for part in [line.strip()] if part]
