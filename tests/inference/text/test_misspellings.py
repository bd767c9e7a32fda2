"""A name that an output has misspelled is found; another form of it is none."""

import pytest

from slimseq.inference.load import load
from slimseq.inference.text.names import MAX_NAMES, lost_names, misspelled_names
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


@pytest.mark.parametrize(
    ("source", "output", "misspelled"),
    [
        ("Anna Müller lives in Zürich.", "Anna M'ller mora em Z'rich.", ["Müller", "Zürich"]),
        ("Łukasz met Søren in Århus.", "Oukasz conheceu S'ren em Orhus.", ["Łukasz", "Søren", "Århus"]),
        ("MÜLLER", "MLLLER", ["MÜLLER"]),
        ("a crème brûlée", "um cr'me br'lée", ["crème", "brûlée"]),
        ("Müller-Lüdenscheidt", "(M'ller-L'denscheidt)", ["Müller", "Lüdenscheidt"]),
        ("Hélène", "Héléne", ["Hélène"]),
        ("Antonín Dvořák", "Antonín Dvoák", ["Dvořák"]),
        ("Þórðarson", "órarson", ["Þórðarson"]),
        # Other forms: of another language, without accents, with an ending.
        ("Zürich", "Zurique Zurich Zuerich", []),
        ("Søren Łukasz Ærø Groß", "Soren Lukasz Aero Gross", []),
        ("Novotný", "Novotného", []),
        ("İzmir", "Izmir", []),
        ("GOsa²", "GOsa", []),
        ("a rosé wine", "rosa- und weiß", []),
        # Nothing like it, and words of the target language.
        ("Ärger", "Müller", []),
        ("über alles", "aber alles", []),
        ("Ås", "Os", []),
        # The name is there, or was so in the source.
        ("Müller", "Müller M'ller", []),
        ("Müller M'ller", "M'ller", []),
        ("Muller", "M'ller", []),
    ],
)
def test_a_misspelling_has_the_ascii_letters_of_its_name(source: str, output: str, misspelled: list[str]) -> None:
    found = misspelled_names(source, output)

    assert [each.text for each in found] == misspelled
    assert all(source[each.start : each.end] == each.text for each in found)


def test_few_names_are_compared() -> None:
    source = " ".join(f"Mül{number}ler" for number in range(2 * MAX_NAMES))

    assert len(misspelled_names(source, source.replace("ü", "'"))) == MAX_NAMES


def test_a_name_that_cannot_be_written_is_lost_unless_another_spelling_of_it_is_there() -> None:
    names = [ProtectedSpan(0, len(each), SpanKind.WORD, each) for each in ("Żak", "Čelik", "Århus", "brûlée")]
    checked = ProtectedSpan(0, 4, SpanKind.NAME, "José")

    assert lost_names([*names, checked], "CELIK in Aarhus") == ["Żak"]


def test_a_summary_says_which_names_it_misspells_and_is_not_made_again(embedded: Store) -> None:
    text = (
        "REYKJAVIK (Reuters) - Þórbergur Þórðarson has been elected president of Iceland, the commission said on "
        "Sunday. Þórðarson won 52 percent of the votes. His rival Ægir Ólafsson conceded defeat."
    )
    with load(embedded.folder(Task.SUMMARIZATION, "quantized"), threads=1) as model:
        [output] = model.generate([text])

    [warning] = [each for each in output.warnings if each.kind == "lost"]
    assert warning.detail.startswith("Misspelled in the output: ")
    assert "Þórðarson" in warning.detail
    assert not output.repaired
