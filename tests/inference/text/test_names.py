"""Words that a model cannot write are found, as whole names, and come out of translations as they went in."""

import unicodedata
from collections.abc import Iterator, Sequence

import pytest

from slimseq.inference.alphabet import Alphabet
from slimseq.inference.generator import TextOutput
from slimseq.inference.load import Model, load
from slimseq.inference.text.glossary import find_terms, read_glossaries, with_terms
from slimseq.inference.text.names import find_names, is_latin, join_neighbours, with_names, with_unwritable_terms
from slimseq.inference.text.passes import NAMES, NUMBERS, SentencePasses
from slimseq.inference.text.sentences import split_sentences
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, find_spans
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.inference.small_tokenizers import of_bytes, with_unknown

WORD, NAME = SpanKind.WORD, SpanKind.NAME
# As Firefox's from English to Portuguese: it lacks ü, and all capitals but two.
FAST = with_unknown("áàâãçéêíóôõúÁÉ")
PORTUGUESE = Alphabet(FAST, FAST)


def names(text: str, source: str = "en", target: str = "pt", alphabet: Alphabet = PORTUGUESE) -> list[str]:
    """Returns the words of a text that the model cannot write."""
    found = find_names(text, alphabet, source, target)
    assert all(text[each.start : each.end] == each.text for each in found)
    return [each.text for each in found if each.kind is WORD]


def checked(text: str, source: str = "en", target: str = "pt") -> list[str]:
    """Returns the names of a text that the model may misspell."""
    return [each.text for each in find_names(text, PORTUGUESE, source, target) if each.kind is NAME]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Anna Müller lives in Zürich.", ["Müller", "Zürich"]),
        ("Müller's car, Müller\u2019s house", ["Müller", "Müller"]),
        ("the Müller-Lüdenscheidt family, Jean-Noël", ["Müller-Lüdenscheidt", "Jean-Noël"]),
        ("a Müller-style dish", ["Müller"]),
        ("O'Brïen and d'Hérouville-Fürth", ["O'Brïen", "d'Hérouville-Fürth"]),
        ("ANNA MÜLLER", ["MÜLLER"]),
        ("crème brûlée", ["crème", "brûlée"]),
        ("José lives in São Paulo", []),
        ("Ângela, Ágata", ["Ângela"]),
        (unicodedata.normalize("NFD", "Müller and João"), [unicodedata.normalize("NFD", "Müller")]),
        ("Москва and 東京 and القاهرة", ["Москва", "東京", "القاهرة"]),
        ("See müller.de, or jörg@müller.de", ["müller.de", "jörg@müller.de"]),
        ("x_ü, ü2", ["x_ü", "ü2"]),
        ("“It\u2019s 5 € — no…”", []),
        ("", []),
    ],
)
def test_words_with_letters_that_the_vocabulary_lacks_are_found(text: str, found: list[str]) -> None:
    assert names(text) == found


def test_names_with_known_letters_are_checked_in_english_texts() -> None:
    assert checked("José García met a fiancée in São Paulo") == ["José", "García", "São"]
    assert not checked("É", source="pt", target="en")


def test_names_are_not_checked_where_the_target_language_puts_endings_after_them() -> None:
    assert not checked("José", target="pl")


def test_names_are_not_checked_for_a_model_of_many_languages() -> None:
    tokenizer = with_unknown("".join(map(chr, range(0xC0, 0x250))))
    all_latin_letters = Alphabet(tokenizer, tokenizer)

    assert not find_names("José García, Łukasz Żak, crème brûlée", all_latin_letters, "en", "pt")


def test_capitals_of_the_models_own_language_are_left_to_it() -> None:
    assert not names("ÚLTIMAS NOTÍCIAS: a situação", source="pt", target="en")
    assert names("Última carta do Müller", source="pt", target="en") == ["Müller"]


def test_names_are_written_in_the_script_of_the_target() -> None:
    both = Alphabet(with_unknown("ü"), with_unknown("мюлер"))

    assert names("Müller", target="ru", alphabet=both) == []
    assert names("Müller", target="de", alphabet=both) == ["Müller"]


@pytest.mark.parametrize(
    ("language", "expected"), [("pt", True), ("ru", False), ("zh", False), ("sr_Latn", True), ("unknown", True)]
)
def test_a_language_is_written_in_latin_letters_unless_cldr_says_otherwise(language: str, expected: bool) -> None:
    assert is_latin(language) == expected


def test_of_a_script_without_spaces_only_unknown_letters_are_protected() -> None:
    tokenizer = with_unknown("我爱北京")
    chinese = Alphabet(tokenizer, tokenizer)

    assert names("我爱東京", source="zh", target="en", alphabet=chinese) == ["東"]


def test_a_run_of_letters_that_is_too_long_is_no_word() -> None:
    assert names("ü" * 5000 + " ü") == ["ü"]


def test_names_beside_each_other_are_one_span_if_one_of_them_cannot_be_written() -> None:
    def joined(text: str) -> list[str]:
        return [each.text for each in join_neighbours(text, find_names(text, PORTUGUESE, "en", "pt"))]

    expected = ["Łukasz Żak", "José Muñoz", "Zürich", "José", "García"]
    assert joined("Łukasz Żak met José Muñoz, Zürich, and José García.") == expected
    assert joined("Łódź " * 1000 + "x") == [("Łódź " * 1000).strip()]


def test_a_name_within_another_span_is_dropped() -> None:
    text = "See https://müller.de/a for Müller."

    spans = with_names(find_spans(text, "en"), find_names(text, PORTUGUESE, "en", "pt"))

    assert [each.text for each in spans] == ["https://müller.de/a", "Müller"]


def test_a_term_that_cannot_be_written_is_protected_and_goes_before_a_name() -> None:
    def find(text: str) -> list[ProtectedSpan]:
        return find_names(text, PORTUGUESE, "en", "pt")

    text = "The garden of Jürgen Müller"
    terms = find_terms(text, read_glossaries({"garden": "jardim", "Müller": "Mueller"}, []), "en")
    spans = with_unwritable_terms(with_terms(find(text), terms), find)

    assert [(each.text, each.kind, each.target) for each in spans] == [
        ("garden", SpanKind.TERM, "jardim"),
        ("Jürgen", WORD, ""),
        ("Müller", SpanKind.KEPT, "Mueller"),
    ]


def test_marks_without_width_stay_in_a_name() -> None:
    [segment] = split_sentences(
        "Mül\u00adler is here.",
        "en",
        is_protected=True,
        find_names=lambda text: find_names(text, PORTUGUESE, "en", "pt"),
    ).segments

    assert [each.text for each in segment.spans] == ["Mül\u00adler"]


def passes_of(text: str, outputs: Sequence[str], target: str = "pt") -> tuple[str, list[str]]:
    """Returns the translation by a model that writes some outputs, and what it was given."""
    spans = join_neighbours(text, find_names(text, PORTUGUESE, "en", target))
    passes = SentencePasses(text, spans, "en", target)
    given: list[str] = []
    for each in outputs:
        given += map(str, passes.inputs)
        passes.receive([TextOutput(each, "eos", input_tokens=5, output_tokens=3, truncated=False)])
    assert not passes.inputs
    return passes.output.text, given


def test_a_word_that_cannot_be_written_has_a_placeholder_in_the_first_pass() -> None:
    text, given = passes_of("Müller knows José.", [f"{NAMES[0]} conhece José."])

    assert given == [f"{NAMES[0]} knows José."]
    assert text == "Müller conhece José."


def test_a_known_name_that_is_lost_has_a_placeholder_in_the_second_pass() -> None:
    text, given = passes_of("I know José.", ["Conheço Jose.", f"Conheço {NUMBERS[0]}."])

    assert given == ["I know José.", f"I know {NUMBERS[0]}."]
    assert text == "Conheço José."


def test_a_name_is_there_as_a_whole_word_as_often_as_in_the_source() -> None:
    once, _ = passes_of("I know Lê.", ["Conheço Lêi.", f"Conheço {NUMBERS[0]}."])
    twice, _ = passes_of("Lê knows Lê.", ["Lê conhece.", f"Lê conhece {NUMBERS[0]}."])

    assert once == "Conheço Lê."
    assert twice == "Lê conhece Lê."


def test_a_german_genitive_has_no_apostrophe() -> None:
    genitive, _ = passes_of("José's car is red.", ["Josés Auto ist rot."], "de")
    nominative, _ = passes_of("José is here.", ["Josés ist da.", f"{NUMBERS[0]} ist da."], "de")

    assert genitive == "Josés Auto ist rot."
    assert nominative == "José ist da."


def test_a_possessive_stays_with_its_name_where_a_sentence_is_parted() -> None:
    text, given = passes_of("Søren's brother works here.", ["Irmão", "Irmão", "O irmão trabalha aqui."])

    assert given[-1] == "brother works here"
    assert text == "Søren's O irmão trabalha aqui."


@pytest.fixture(scope="module", params=["quantized", "compact"])
def german(request: pytest.FixtureRequest, embedded: Store) -> Iterator[Model]:
    with load(embedded.folder(Task.TRANSLATION, request.param), threads=1) as model:
        yield model


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Anna Müller lives in Zürich.", ["Müller", "Zürich"]),
        ("Łukasz Żak met Søren in Århus.", ["Łukasz Żak", "Søren", "Århus"]),
        ("Beyoncé sang in the stadium.", ["Beyoncé"]),
        ("We ate a crème brûlée after dinner.", ["crème brûlée"]),
        ("MR NUÑEZ PAID.", ["NUÑEZ"]),
    ],
)
def test_names_come_out_of_the_german_translators_as_they_went_in(german: Model, text: str, kept: list[str]) -> None:
    [output] = german.generate([text])

    assert all(each in output.text for each in kept)
    assert not output.warnings
    assert "".join(german.stream(text)) == german.generate([text], repair=False)[0].text


def test_a_name_to_keep_stays_and_a_glossary_is_followed(german: Model) -> None:
    [kept] = german.generate(["Søren Żak lives in Århus."], keep=["Søren"])
    [termed] = german.generate(["Søren lives in Århus."], glossary={"Århus": "Aarhus"})
    [unprotected] = german.generate(["Søren lives in Århus."], protect=False, keep=["Søren"])

    assert all(each in kept.text for each in ("Søren", "Żak", "Århus"))
    assert "Søren" in termed.text
    assert "Aarhus" in termed.text
    assert not termed.warnings
    assert "Søren" in unprotected.text


def test_markup_stays_around_a_name(german: Model) -> None:
    [page] = german.generate(["<p>The house of <b>Łukasz Żak</b> is in <i>Århus</i>.</p>"], format="html")
    [note] = german.generate(["The house of **Łukasz Żak** is in *Århus*.\n"], format="markdown")

    assert "<b>Łukasz Żak</b>" in page.text
    assert "<i>Århus</i>" in page.text
    assert "**Łukasz Żak**" in note.text
    assert "*Århus*" in note.text


def test_a_text_without_protection_says_which_names_were_lost(german: Model) -> None:
    [output] = german.generate(["Łukasz lives in Þingvellir."], protect=False)
    [protected] = german.generate(["Łukasz lives in Þingvellir."])

    lost = [each.detail for each in output.warnings if each.kind == "lost"]
    assert "Þingvellir" not in output.text
    assert lost
    assert "Þingvellir" in lost[0]
    assert not protected.warnings


def test_text_that_is_nothing_but_names_is_not_translated(german: Model) -> None:
    assert german.generate(["Łukasz Żak"])[0].text == "Łukasz Żak"


def test_a_vocabulary_of_bytes_has_the_letters_that_it_was_trained_with() -> None:
    tokenizer = of_bytes("äöüß")
    bytes_of_german = Alphabet(tokenizer, tokenizer)

    assert names("Müller, Łukasz, Beyoncé", target="de", alphabet=bytes_of_german) == ["Łukasz", "Beyoncé"]
