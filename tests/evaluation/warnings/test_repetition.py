import pytest

from slimseq.evaluation.warnings.repetition import repetition


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("der der der der der Hund", ("der", 5)),
        ("Er sagte, dass er sagte, dass er sagte, dass er ging.", ("er sagte, dass", 3)),
        ("Das ist gut. Das ist gut. Das ist gut. Das ist gut.", ("das ist gut.", 4)),
        ("Bitterbitterbitterbitterbitter", ("bitter", 5)),
        ("是的是的是的是的是的是的", ("是的", 6)),
        ("他说他不知道他说他不知道他说他不知道。", ("他说他不知道", 3)),
    ],
)
def test_a_loop_is_found_with_its_length(output: str, found: tuple[str, int]) -> None:
    assert repetition("The dog is sleeping.", output) == found


@pytest.mark.parametrize(
    "output",
    [
        "",
        "Ein Hund schläft.",
        "La la la la!",
        "Sehr, sehr, sehr guter Wein.",
        "Er ging und ging und kam nie an.",
        "Die Menschen, die die Stadt verließen, und die, die blieben.",
        "10000000000000",
        "-----------------",
        "Sooooo schön! Hahaha!",
        "Der Mann und die Frau und der Hund und die Katze und der Vogel und die Maus.",
    ],
)
def test_what_people_write_is_no_loop(output: str) -> None:
    assert repetition("", output) is None


def test_what_the_source_repeats_the_output_may_repeat() -> None:
    source, output = "no no no no no no", "nein nein nein nein nein nein"

    assert repetition(source, output) is None
    assert repetition("no no no no", output) == ("nein", 6)
