import pytest

from slimseq.inference.text.localization import render_each
from slimseq.inference.text.passes import check
from slimseq.inference.text.spans import find_spans


def result(source: str, output: str, target: str = "de") -> str | None:
    """Returns the output if it has the numbers of its source, else the repaired one, None if that is not sure."""
    found = check(output, render_each(source, find_spans(source, "en"), "en", target))
    return found.repair() if found.missing else output


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("It costs $1,299.99.", "Es kostet 1.299,99 Dollar."),
        ("It costs £3.2 billion.", "Es kostet 3,2 Milliarden Pfund."),
        ("We met at 3:30 p.m.", "Wir trafen uns um 15.30 Uhr."),
        ("On March 5, 2024 it rained.", "Am 5. März 2024 regnete es."),
        ("10-15 people came.", "10 bis 15 Leute kamen."),
        ("The 1990s were good.", "Die 1990er waren gut."),
        ("12 of 12 came.", "12 von 12 kamen."),
        ("It runs every 60 s.", "Er läuft alle 60 Sekunden."),
    ],
)
def test_numbers_that_came_out_are_left(source: str, output: str) -> None:
    assert result(source, output) == output


@pytest.mark.parametrize(
    ("target", "source", "output"),
    [
        ("fr", "It costs $1,299.99.", "Cela coûte 1 299,99 dollars."),
        ("fr", "It weighs 5 kg.", "Cela pèse 5 kilogrammes."),
        ("es", "It is £3.2 billion.", "Son 3,2 mil millones de libras."),
        ("pl", "It is 5 km, and 12.5%.", "To 5 kilometrów i 12,5 procent."),
        ("ja", "It is 5 km for $2 million.", "5キロメートルで200万米ドルです。"),
        ("ru", "On March 5, 2024 it was 20 °C.", "5 марта 2024 года было 20 градусов."),
    ],
)
def test_each_target_has_its_words_for_units_months_and_currencies(target: str, source: str, output: str) -> None:
    assert result(source, output, target) == output


@pytest.mark.parametrize(
    ("source", "output", "repaired"),
    [
        ("It costs $1,299.99.", "Es kostet 1,29,9999 $.", "Es kostet 1.299,99 $."),
        ("It weighs 187 g and 5 kg.", "Es wiegt 187 und 5 Kilo.", "Es wiegt 187 g und 5 Kilo."),
        ("It runs every 60 s.", "Er läuft alle 60.", "Er läuft alle 60 s."),
        ("A 2011 report came.", "Ein A1 Bericht kam.", "Ein A 2011 Bericht kam."),
        ("The 1990s were good.", "Die 199er waren gut.", "Die 1990er waren gut."),
        ("It cost 736,000 euros.", "Es kostete 73.000, nur 73.000 Euro.", "Es kostete 736.000, nur 736.000 Euro."),
        ("12 of 345 came.", "12 von 34 kamen.", "12 von 345 kamen."),
        ("We met at 3:30 p.m.", "Wir trafen uns um 3.30 Uhr.", "Wir trafen uns um 15:30 Uhr."),
    ],
)
def test_a_wrong_number_is_replaced_where_it_is_sure_which_one(source: str, output: str, repaired: str) -> None:
    assert result(source, output) == repaired


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("It costs £3.2 billion.", "Es kostet £32."),
        ("It costs $5.", "Es kostet 5."),
        ("12 of 345 came.", "Zwölf von ihnen kamen."),
        ("12 of 12 came.", "12 von ihnen kamen."),
        ("On March 5 it rained.", "Am 5. Mai regnete es."),
        ("It was -5 °C.", "Es waren 5 °C."),
    ],
)
def test_what_is_missing_otherwise_is_reported(source: str, output: str) -> None:
    assert result(source, output) is None


def test_a_number_within_a_longer_one_is_not_found() -> None:
    assert result("About 12 came.", "Etwa 3.12 kamen.") == "Etwa 12 kamen."
    assert result("About 12 came.", "Etwa 512 kamen.") == "Etwa 12 kamen."


@pytest.mark.parametrize(
    ("source", "output", "expected"),
    [
        ("Orders over $50 are free.", "Alles über50 Dollar ist frei.", "Alles über 50 Dollar ist frei."),
        ("5 of 12 came.", "Etwa5 von12 kamen.", "Etwa 5 von 12 kamen."),
        ("I have 3 mp3 files.", "Ich habe3 mp3 Dateien.", "Ich habe 3 mp3 Dateien."),
        ("3 files are in mp3.", "In mp3 sind Dateien.", "In mp3 sind Dateien."),
        ("4 sheets of paper came.", "A4 kam.", "A4 kam."),
        ("The 1990s were good.", "Die 1990er waren gut.", "Die 1990er waren gut."),
    ],
)
def test_a_number_has_a_space_after_a_word(source: str, output: str, expected: str) -> None:
    found = check(output, render_each(source, find_spans(source, "en"), "en", "de"))

    assert found.add_spaces(source) == expected
