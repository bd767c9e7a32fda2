"""Placeholders for spans: which a sentence takes, and how the spans come back in a translation."""

import random

from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.text.localization import Rendering
from slimseq.inference.text.masking import Masked, ProtectedSentence
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan

NAMES = ("Anna", "Peter", "Maria", "Thomas", "17", "23", "42")


def masked(text: str, *spans: str, names: tuple[str, ...] = NAMES) -> Masked | None:
    found = [ProtectedSpan(text.index(each), text.index(each) + len(each), SpanKind.URL, each) for each in spans]
    return ProtectedSentence(text, found, list(map(Rendering, spans))).masked(range(len(found)), names)


def test_a_placeholder_that_the_sentence_has_is_not_used() -> None:
    found = masked("ANNA, see http://a.b with Peter.", "http://a.b")

    assert found is not None
    assert found.text == "ANNA, see Maria with Peter."


def test_placeholders_that_are_not_there_exactly_once_are_reported() -> None:
    found = masked("See http://a.b and c@d.ef.", "http://a.b", "c@d.ef")

    assert found is not None
    assert found.restored("Siehe Anna.") == ("Siehe http://a.b.", [1])
    assert found.restored("Anna, Anna, Peter")[1] == [0]
    assert found.restored("Annas Peter")[1] == [0]


def test_a_placeholder_is_set_apart_from_the_words_beside_its_span() -> None:
    found = masked("A <b>bold</b><i>word</i>.", "<b>", "</b>", "<i>", "</i>")

    assert found is not None
    assert found.text == "A Anna bold Peter Maria word Thomas."
    assert found.restored("Ein Anna fettes Peter Maria Wort Thomas.") == ("Ein <b>fettes</b><i>Wort</i>.", [])


def test_a_number_within_a_longer_one_is_no_placeholder() -> None:
    found = masked("See http://a.b.", "http://a.b", names=("17",))

    assert found is not None
    assert found.restored("Siehe 17.") == ("Siehe http://a.b.", [])
    assert found.restored("Siehe 17,5.")[1] == [0]
    assert found.restored("Siehe 117.")[1] == [0]


PARTS = st.lists(st.text(alphabet="abc ,.Anna17", max_size=8), min_size=2, max_size=5)


@given(PARTS, st.lists(st.text(min_size=1, max_size=8), min_size=4, max_size=4), st.integers())
def test_a_model_that_copies_placeholders_gives_back_every_span(parts: list[str], kept: list[str], seed: int) -> None:
    """Masking and restoring is the identity, and keeps the spans in any order of the words."""
    text, spans = parts[0], []
    for part, span in zip(parts[1:], kept, strict=False):
        spans.append(ProtectedSpan(len(text) + 1, len(text) + 1 + len(span), SpanKind.KEPT, span))
        text += f" {span} {part}"

    sentence = ProtectedSentence(text, spans, [Rendering(span.text) for span in spans])
    found = sentence.masked(range(len(spans)), (*NAMES, "Google", "Linux", "98", "87"))

    assert found is not None
    assert found.restored(found.text) == (text, [])
    placeholders = [placeholder.name for placeholder in found.placeholders]
    random.Random(seed).shuffle(placeholders)
    shuffled, lost = found.restored(" ".join(placeholders))
    assert not lost
    assert sorted(shuffled) == sorted(" ".join(span.text for span in spans))
