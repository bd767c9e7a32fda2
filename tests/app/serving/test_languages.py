"""The pairs that are served, directly and by way of the pivot, and the detection of a text's language."""

from pathlib import Path

import pytest

from slimseq.app.serving.languages import Detected, Languages
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put


@pytest.fixture
def languages(tmp_path: Path) -> Languages:
    store = put(
        tmp_path,
        manifest(variant="original"),
        manifest(variant="to-french", languages=["en", "fr"]),
        manifest(Task.SUMMARIZATION, "original", languages=["es"]),
    )
    return Languages(Chooser(Defaults(Catalogue(Store(store)))))


def test_the_pairs_are_those_of_the_translation_variants_the_defaults_first(languages: Languages) -> None:
    assert list(languages.pairs()) == [("en", "de"), ("en", "fr")]


def test_two_pairs_that_meet_in_english_are_one(tmp_path: Path) -> None:
    pairs = {"original": ["en", "de"], "back": ["de", "en"], "from-french": ["fr", "en"], "italian": ["fr", "it"]}
    store = put(tmp_path, *(manifest(variant=name, languages=pair) for name, pair in pairs.items()))
    languages = Languages(Chooser(Defaults(Catalogue(Store(store)))))

    assert languages.chained() == {"de": [], "fr": ["de"]}
    assert languages.served_pair("FR", "de-AT") == ("fr", "de")
    assert languages.detect_source("Bonjour", "de").language == "fr"
    for source, target in (("de", "it"), ("de", "de")):
        with pytest.raises(UnsupportedLanguages, match="is not available as a target language from German"):
            languages.served_pair(source, target)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The children are playing in the garden.", "en"),
        ("Die Kinder spielen im Garten.", "de"),
        ("Bonjour tout le monde", "fr"),
        ("孩子们在花园里玩耍。", "zh"),
    ],
)
def test_the_language_of_a_text_is_detected_whatever_the_target(languages: Languages, text: str, language: str) -> None:
    found = languages.detect(text)

    assert found.language == language and 0 < found.confidence <= 1
    assert languages.detect_source(text, "de") == found


@pytest.mark.parametrize("text", ["Um homem em um chapéu verde correndo.", "Ele é um médico e também um romancista."])
def test_a_sentence_is_in_one_of_the_languages_that_the_variants_know(tmp_path: Path, text: str) -> None:
    pairs = {"original": ["en", "pt"], "back": ["pt", "en"]}
    store = put(tmp_path, *(manifest(variant=name, languages=pair) for name, pair in pairs.items()))
    languages = Languages(Chooser(Defaults(Catalogue(Store(store)))))

    # These would be Latin, Estonian and French without any doubt.
    assert languages.detect_source(text, "en").language == "pt"
    assert languages.detect_source("It's a pity you don't know how to dance.", "pt").language == "en"


def test_a_text_that_says_nothing_has_no_confidence(languages: Languages) -> None:
    assert languages.detect("12345").confidence == 0


@pytest.mark.parametrize("text", ["Hello", "cat", "Yes", "Hello."])
@pytest.mark.parametrize("target", ["de", "DE-at"])
def test_a_word_is_in_a_language_that_can_be_translated_into_the_target(
    languages: Languages, text: str, target: str
) -> None:
    assert languages.detect(text).language != "en"

    assert languages.detect_source(text, target) == Detected("en", 0.0)


def test_a_target_that_no_variant_knows_is_refused_before_the_source(languages: Languages) -> None:
    with pytest.raises(UnsupportedLanguages, match="xx is not supported"):
        languages.detect_source("Hello", "xx")
