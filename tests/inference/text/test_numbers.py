import pytest

from slimseq.inference.text.numbers import added_numbers, find_numbers, lost_numbers


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("1,299.99", [("1299", "99")]),
        ("1.299,99", [("1299", "99")]),
        ("10 000 people in 2026", [("10000",), ("2026",)]),
        ("1\u2009234\u2009567", [("1234567",)]),
        ("12\u2060345 and 6\u00ad7", [("12345",), ("67",)]),
        ("1'234 and 6'7", [("1234",), ("6",), ("7",)]),
        ("007", [("7",)]),
        ("Version 1.234.5", [("1", "234", "5")]),
        ("on 12/24/2025, 17:30.", [("12",), ("24",), ("2025",), ("17",), ("30",)]),
        ("٣٤٥", [("345",)]),
        ("1, 2, 3", [("1",), ("2",), ("3",)]),
    ],
)
def test_a_number_is_the_same_in_each_notation(text: str, groups: list[tuple[str, ...]]) -> None:
    assert [number.groups for number in find_numbers(text)] == groups


@pytest.mark.parametrize(
    ("source", "output", "lost"),
    [
        ("It costs $1,299.99.", "Es kostet 1.299,99 $.", []),
        ("It costs $1,299.99.", "Es kostet 1,29,9999 $.", ["1,299.99"]),
        ("£3.2 billion", "3,2 Milliarden £", []),
        ("£3.2 billion", "£32 Milliarden", ["3.2"]),
        ("It opened on May 15, 2020.", "Er öffnete im Mai 2020.", ["15"]),
        ("We meet at 3:45 pm.", "Wir treffen uns um 15.45 Uhr.", []),
        ("We meet at 3:45 pm.", "Wir treffen uns um 16.30 Uhr.", ["45"]),
        ("3 dogs and 12 cats in 2026", "trois chiens et douze chats", ["2026"]),
        ("22 of 22", "22 von", ["22"]),
        ("We work till 4:00 PM.", "Wir arbeiten bis 16 Uhr.", []),
        ("80 of 20", "achtzig von zwanzig", []),
    ],
)
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
