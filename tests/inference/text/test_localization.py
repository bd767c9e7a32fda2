import pytest

from slimseq.inference.text.localization import render, render_all
from slimseq.inference.text.spans import find_spans


def german(text: str) -> str:
    return render_all(text, find_spans(text, "en"), "en", "de")


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        ("1,299.99", "1.299,99"),
        ("$1,299.99", "1.299,99 $"),
        ("£3.2 billion", "3,2 Milliarden £"),
        ("€1 million", "1 Million €"),
        ("$2.5 trillion", "2,5 Billionen $"),
        ("$5m", "5 Millionen $"),
        ("USD 50", "50 USD"),
        ("-$5", "-5 $"),
        ("2.5 million", "2,5 Millionen"),
        ("12.5%", "12,5 %"),
        ("3.5", "3,5"),
        ("3:30 p.m. now", "15:30 Uhr now"),
        ("12 pm", "12 Uhr"),
        ("5\u20137 p.m. daily", "17\u201319 Uhr daily"),
        ("5 to 7:30 pm", "17\u201319:30 Uhr"),
        ("between 5 and 7 p.m. daily", "between 17 und 19 Uhr daily"),
        ("sections 5 and 7 p.m. daily", "sections 5 and 19 Uhr daily"),
        ("9-5 p.m. daily", "9-17 Uhr daily"),
        ("10 to 2 a.m. daily", "22\u20132 Uhr daily"),
        ("11 to 12 p.m. daily", "11\u201312 Uhr daily"),
        ("50\u202f% and 3.5\u2009km", "50 % and 3,5\u2009km"),
        ("1,299.99\u202f€", "1.299,99 €"),
        ("12\u2009345\u2009678 people", "12.345.678 people"),
        ("1\u00a0234\u00a0km", "1.234\u00a0km"),
        ("1\u202f200\u20132\u202f300", "1.200\u20132.300"),
        ("5\u00a0May\u00a01999", "5. Mai 1999"),
        ("12\u201114\u20112026", "12-14-2026"),
        ("$5\u2011million", "5 Millionen $"),
        ("\u20125 km", "-5 km"),
        ("555\u2011123\u20114567", "555\u2011123\u20114567"),
        ("14 to 15 pm", "14 to 15 pm"),
        ("14:30", "14:30"),
        ("March 5, 2024", "5. März 2024"),
        ("5 May 1999", "5. Mai 1999"),
        ("the 1st of June", "the 1. Juni"),
        ("21st", "21."),
    ],
)
def test_english_spans_follow_the_rules_of_german(english: str, expected: str) -> None:
    assert german(english) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Python 3.11",
        "section 3.2",
        "2.0.1",
        "2024-03-05",
        "10-15",
        "16:9",
        "3/4",
        "1999",
        "+49 30 1234567",
        "https://example.com/1,299.99",
        "`1,299.99`",
        "<td width=3.5>",
        "1,29,9999",
        "15 pm",
    ],
)
def test_what_is_not_surely_a_number_stays(text: str) -> None:
    assert german(text) == text


@pytest.mark.parametrize(
    ("target", "english", "expected"),
    [
        ("fr", "$1,299.99 on March 5, 2024", "1\u202f299,99 $ on 5 mars 2024"),
        ("fr", "5 p.m. to 3:30 p.m. or 12.5%", "17:00 to 15:30 or 12,5 %"),
        ("es", "£3.2 billion on the 1st of May", "3,2 mil millones £ on the 1 de mayo"),
        ("es", "the 21st of 2.5 km", "the 21st of 2,5 km"),
        ("pl", "5 million, 2 million, 12.5% in May 2024", "5 milionów, 2 miliony, 12,5% in maj 2024"),
        ("ru", "$5bn on 5 May 1999", "5 миллиардов $ on 5 мая 1999 г."),  # noqa: RUF001
        ("cs", "the 21st, 1,234,567", "the 21., 1\u00a0234\u00a0567"),
        ("ja", "$3.2 billion at 3 p.m. on March 5, 2024", "$32億 at 15時 on 2024年3月5日"),
        ("ja", "5 thousand of 1,299.99", "5,000 of 1,299.99"),
        ("ko", "at 3:30 p.m. for 2 million", "at 3:30 p.m. for 200만"),
        ("pt-BR", "$1,299.99", "$1.299,99"),
    ],
)
def test_english_spans_follow_the_rules_of_any_target(target: str, english: str, expected: str) -> None:
    assert render_all(english, find_spans(english, "en"), "en", target) == expected


@pytest.mark.parametrize(("source", "target"), [("de", "en"), ("fr", "de"), ("en", ""), ("en", "xx")])
def test_from_other_languages_and_to_unknown_ones_nothing_changes(source: str, target: str) -> None:
    text = "$1,299.99 at 3:30 p.m. on March 5, 2024, a@b.com, 1\u202f234, 10\u201115"

    assert render_all(text, find_spans(text, source), source, target) == text


def forms(text: str, source: str = "en", target: str = "de") -> list[set[str]]:
    [span] = find_spans(text, source)
    return [set(numeral.forms) for numeral in render(span, source, target).numerals]


def test_a_translation_may_write_a_number_in_other_ways() -> None:
    assert forms("1,299.99") == [{"1.299,99", "1299,99"}]
    assert {"1\u202f299,99", "1\u00a0299,99", "1 299,99", "1299,99"} <= forms("1,299.99", target="fr")[0]
    assert {"15:30", "15.30"} <= forms("3:30 pm")[0]
    assert {"9:30", "09:30", "9h30"} <= forms("9:30 am", target="fr")[0]
    assert {"17", "17:00"} <= forms("5 pm", target="es")[0]
    assert forms("3.5") == [{"3.5", "3,5"}]
    assert forms("12345") == [{"12345", "12.345"}]


def test_from_other_languages_a_number_may_be_kept_or_have_its_separators_swapped() -> None:
    assert forms("1,299.99", "fr") == [{"1,299.99", "1.299,99", "1299.99"}]
    assert forms("1\u202f299", "fr") == [{"1\u202f299", "1 299", "1,299", "1.299", "1299"}]
