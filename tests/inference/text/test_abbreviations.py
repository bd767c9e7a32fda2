"""An abbreviation before a number ends no sentence, in no step, and English ones are read in full."""

import pytest

from slimseq.inference.load import load
from slimseq.inference.text.abbreviations import write_in_full
from slimseq.inference.text.sentences import split_sentences
from slimseq.inference.text.spans import find_spans
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

BEFORE_NUMBERS = (
    "no nos num p pp pg pgs vol vols ch chap chaps fig figs sec secs sect art para paras ed eds edn approx ca eq eqn "
    "eqs ex exs appx cols fn ln lns nn vv v bk bks ver apt dept rm tel ref refs thm lem def cor prob qs iss inv max "
    "min avg est rte"
)


@pytest.mark.parametrize("written", BEFORE_NUMBERS.split())
def test_no_english_abbreviation_ends_a_sentence_before_a_number(written: str) -> None:
    for text in (
        f"Please look at {written}. 12 today.",
        f"{written.capitalize()}. 12 is here.",
        f"It is {written}.  7.",
    ):
        assert len(split_sentences(text, "en", is_protected=True).segments) == 1


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Bitte zahlen Sie Rechnung Nr. 12 heute, siehe S. 12, Abb. 5, Kap. 4, Bd. 3 und Art. 5."),
        ("pt", "Pague a fatura n. 12, n.º 13, ver p. 12, pp. 13-14, vol. 3, cap. 4, fig. 5 e art. 5, aprox. 12 kg."),
        ("es", "Pague la factura núm. 12, pág. 13, vol. 3, cap. 4, fig. 5 y art. 5, aprox. 12 kg."),
        ("fr", "Payez la facture n° 12, p. 12, vol. 3, chap. 4, fig. 5 et art. 5, env. 12 kg."),
        ("it", "Paga la fattura n. 12, p. 12, pag. 13, vol. 3, cap. 4, fig. 5 e art. 5."),
    ],
)
def test_no_abbreviation_of_another_language_ends_a_sentence_before_a_number(language: str, text: str) -> None:
    assert len(split_sentences(text, language, is_protected=True).segments) == 1


def test_words_that_are_no_abbreviations_end_a_sentence() -> None:
    assert len(split_sentences("I will use the app. 12 people came.", "en").segments) == 2
    assert len(split_sentences("Comprei um carro. 12 pessoas vieram.", "pt").segments) == 2


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Please pay invoice no. 12 today.", "Please pay invoice number 12 today."),
        ("No. 12 is due.", "Number 12 is due."),
        ("He is No. 1 in the world.", "He is number 1 in the world."),
        ("INVOICE NO. 12", "INVOICE NUMBER 12"),
        ("See pp. 3-4, vol. 3 and fig. 5b.", "See pages 3-4, volume 3 and figure 5b."),
        ("See sec.\u00a06.2 and Fig.7.", "See section\u00a06.2 and Fig.7."),
        ("It costs approx. $12, approx. 5% more.", "It costs approximately $12, approximately 5% more."),
        ("The order, no. 4471, is late.", "The order, number 4471, is late."),
        # Not abbreviations of a number: an answer, a unit, and a word.
        ("He said no. 12 people left.", "He said no. 12 people left."),
        ("No. 12 people left.", "No. 12 people left."),
        ("He waited 5 sec. 12 people came.", "He waited 5 sec. 12 people came."),
        ("It is no problem.", "It is no problem."),
    ],
)
def test_an_abbreviation_before_a_number_is_written_in_full(text: str, read: str) -> None:
    written, spans = write_in_full(text, find_spans(text, "en"))

    assert written == read
    assert all(written[each.start : each.end] == each.text for each in spans)


@pytest.mark.parametrize("variant", ["original", "quantized", "compact", "distilled", "pruned"])
def test_a_translation_has_no_sentence_more_than_its_source(embedded: Store, variant: str) -> None:
    texts = [
        "Please pay invoice no. 12 today.",
        "See page no. 7 for the rules.",
        "It is forbidden by art. 5 of the law.",
    ]

    with load(embedded.folder(Task.TRANSLATION, variant), threads=1) as model:
        outputs = model.generate(texts)

    for output, number in zip(outputs, ("12", "7", "5"), strict=True):
        assert number in output.text
        # One full stop, at the end.
        assert "." not in output.text[:-1]
