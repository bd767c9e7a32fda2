import pytest

from slimseq.inference.generator import TextOutput
from slimseq.inference.text.assembly import certain


@pytest.mark.parametrize(
    ("text", "stops", "left", "reason"),
    [
        ("One. Two.", ["Two"], "One.", "stop"),
        ("One. Two.", ["Three", "wo", "One"], "", "stop"),
        ("One. Two.", ["Three"], "One. Two.", "eos"),
        ("One. Two.", [], "One. Two.", "eos"),
    ],
)
def test_an_output_is_cut_at_the_first_stop(text: str, stops: list[str], left: str, reason: str) -> None:
    found = TextOutput(text, "eos", 1, 1, False).cut(stops)

    assert (found.text, found.finish_reason) == (left, reason)


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("Hello", "Hello"),
        ("Hello #", "Hello "),
        ("Hello ##", "Hello "),
        ("Hello ###", "Hello "),
        ("Hello #!", "Hello #!"),
    ],
)
def test_what_may_become_a_stop_is_held_back(text: str, sure: str) -> None:
    assert certain(text, ["###"]) == sure
