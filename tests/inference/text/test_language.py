"""A text that is surely in another language than the model reads is found, and languages have names and codes."""

import pytest

from slimseq.inference.text.language import detector_codes, foreign_language, language_name, language_pair, short_code
from tests.inference.text.samples import ENGLISH, FOREIGN, tables_of

TABLES = tables_of(__file__)


@pytest.mark.parametrize(("language", "text"), [(code, text) for code, texts in FOREIGN.items() for text in texts])
def test_a_paragraph_in_another_language_is_found_with_its_name(language: str, text: str) -> None:
    assert foreign_language(text, "en") == language_name(language)


@pytest.mark.parametrize("text", ENGLISH)
def test_a_paragraph_in_the_language_of_the_model_is_fine(text: str) -> None:
    assert foreign_language(text, "en") is None


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_foreign_to_a_model_that_reads_another_language(text: str) -> None:
    for expected in ("de", "zh", "ar"):
        assert foreign_language(text, expected) == "English"


@pytest.mark.parametrize("text", TABLES["what_is_too_short_a_name_a_number_code_or_repeated_gets_no_warning"])
def test_what_is_too_short_a_name_a_number_code_or_repeated_gets_no_warning(text: str) -> None:
    assert foreign_language(text, "en") is None


@pytest.mark.parametrize("language", FOREIGN)
def test_a_text_of_two_languages_gets_no_warning(language: str) -> None:
    english, foreign = " ".join(ENGLISH) * 4, " ".join(FOREIGN[language]) * 4

    assert foreign_language(f"{english}\n{foreign}", "en") is None
    assert foreign_language(f"{foreign}\n{english}", "en") is None


def test_a_quotation_in_another_language_gets_no_warning() -> None:
    quoted = f"{ENGLISH[0]} “{FOREIGN['de'][0][:80]}” {ENGLISH[2]}"

    assert foreign_language(quoted, "en") is None
    assert foreign_language(f"The sign says 北京大学 and nothing else, {ENGLISH[0]}", "en") is None


@pytest.mark.parametrize(
    "text",
    [
        "My kindergarten teacher loved wanderlust and sauerkraut, and she drank Riesling in Wolfenbüttel each summer.",
        "Professor García teaches linear algebra in Rio de Janeiro, and Johann and Beatrix live near Heidelberg.",
        "Influenza, pneumonia, diarrhea, asthma, bronchitis, hepatitis, measles, tuberculosis and malaria",
        "pro bono attorney services at 10 downing street, london, for popular regional musical festivals",
    ],
)
def test_a_text_of_the_model_with_foreign_names_is_fine(text: str) -> None:
    assert foreign_language(text, "en") is None


def test_a_language_that_the_detector_does_not_know_is_not_checked() -> None:
    assert foreign_language(ENGLISH[0], "xx") is None
    assert foreign_language(ENGLISH[0], "tlh") is None


def test_only_three_places_of_a_long_text_are_looked_at() -> None:
    french = FOREIGN["fr"][0]

    assert "French" in str(foreign_language(french * 10_000, "en"))
    assert foreign_language(f"{french}{'xyz ' * 10_000}{french}", "en") is None


def test_languages_have_english_names() -> None:
    assert (language_name("de"), language_name("zh"), language_name("no-such")) == ("German", "Chinese", "no-such")


def test_a_macrolanguage_is_detected_as_one_of_its_own() -> None:
    assert {"zho", "cmn"} <= detector_codes(["zh"])
    assert detector_codes(["no-such"]) == frozenset()
    assert (short_code("deu"), short_code("cmn"), short_code("arb")) == ("de", "zh", "ar")


def test_an_unknown_source_is_taken_for_english_and_an_unknown_target_is_empty() -> None:
    assert language_pair(["de", "fr"]) == ("de", "fr")
    assert language_pair(["de"]) == ("de", "")
    assert language_pair([]) == ("en", "")
