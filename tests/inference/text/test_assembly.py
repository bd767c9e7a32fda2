"""Streamed texts: which pieces are sent when tokens and outputs of rows come in, and what they add up to."""

from collections import defaultdict

import pytest

from slimseq.inference.generator import TextOutput
from slimseq.inference.text.assembly import Assembly, TextPiece, final_part
from slimseq.inference.text.sentences import SegmentedText, split_sentences, whole
from slimseq.inference.tokenizer import TextStream

EOS = 0


class WordStream(TextStream):
    """Tokens are places in a list of words, each with a space before it."""

    words = ("", "Guten", "Morgen.", "Wie", "geht's?", "\n", "Ein", "Hund.")

    def __init__(self) -> None:
        pass

    def push(self, token: int) -> str:
        return f" {self.words[token]}" if self.words[token] else ""


def output(text: str) -> TextOutput:
    return TextOutput(text, "eos", input_tokens=1, output_tokens=1, truncated=False)


def joined(pieces: list[TextPiece]) -> dict[int, str]:
    texts: dict[int, str] = defaultdict(str)
    for piece in pieces:
        texts[piece.index] += piece.text
    return dict(texts)


def test_tokens_are_sent_as_they_come() -> None:
    assembly = Assembly([whole("x")], WordStream, EOS)

    pieces = [assembly.on_token(0, token) for token in (1, 2, EOS)] + [assembly.on_row(0, output("Guten Morgen."))]

    assert pieces == [[TextPiece(0, "Guten")], [TextPiece(0, " Morgen.")], [], []]


def test_a_later_sentence_waits_for_those_before_it() -> None:
    assembly = Assembly([split_sentences("A dog.\n\nGood morning. How are you?", "en")], WordStream, EOS)

    held_back = assembly.on_token(1, 1) + assembly.on_token(2, 3) + assembly.on_token(2, 4)
    first = assembly.on_token(0, 6)
    ended = assembly.on_token(0, 7) + assembly.on_token(0, EOS)
    rest = assembly.on_token(1, 2) + assembly.on_token(1, EOS)

    assert held_back == []
    assert first == [TextPiece(0, "Ein")]
    assert ended == [TextPiece(0, " Hund."), TextPiece(0, "\n\nGuten")]
    assert joined(rest) == {0: " Morgen. Wie geht's?"}


def test_texts_grow_side_by_side() -> None:
    assembly = Assembly([whole("x"), whole("y")], WordStream, EOS)

    assert assembly.on_token(1, 1) == [TextPiece(1, "Guten")]
    assert assembly.on_token(0, 6) == [TextPiece(0, "Ein")]


def test_rows_alone_add_up_to_the_joined_text_in_any_order() -> None:
    text = split_sentences("  One. Two. Three.\n\nFour.\n", "en")
    outputs = ["Eins.", "", "Drei.", "Vier."]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        assembly = Assembly([text], WordStream, EOS)

        pieces = [piece for row in order for piece in assembly.on_row(row, output(outputs[row]))]

        assert joined(pieces) == {0: text.join(outputs)}


def test_space_at_the_end_of_a_row_is_never_sent() -> None:
    assembly = Assembly([whole("x")], WordStream, EOS)

    pieces = assembly.on_token(0, 1) + assembly.on_token(0, 5) + assembly.on_row(0, output("Guten"))

    assert joined(pieces) == {0: "Guten"}


def test_the_final_text_completes_what_the_tokens_left_out() -> None:
    assembly = Assembly([whole("x")], WordStream, EOS)

    pieces = assembly.on_token(0, 1) + assembly.on_row(0, output("Guten Morgen."))

    assert joined(pieces) == {0: "Guten Morgen."}


def test_what_looked_like_the_beginning_of_a_stop_is_sent_at_the_end() -> None:
    assembly = Assembly([whole("x")], WordStream, EOS, stops=["Morgen. Nein"])

    pieces = [assembly.on_token(0, token) for token in (1, 2, EOS)]

    assert pieces == [[TextPiece(0, "Guten")], [], [TextPiece(0, " Morgen.")]]


def test_only_the_whole_output_is_sent_of_a_row_whose_tokens_are_not_final() -> None:
    text = split_sentences("One. Two.", "en")
    assembly = Assembly([text], WordStream, EOS, rows_sent_whole=[0])

    before = [assembly.on_token(0, 1), assembly.on_token(1, 6), assembly.on_token(0, EOS)]
    after = assembly.on_row(0, output("a@b.org.")) + assembly.on_token(1, 7)

    assert before == [[], [], []]
    assert joined(after) == {0: "a@b.org. Ein Hund."}


def test_a_text_without_rows_is_sent_at_the_beginning() -> None:
    assembly = Assembly([SegmentedText([], "42\n"), whole("x")], WordStream, EOS)

    assert assembly.begin() == [TextPiece(0, "42\n")]


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
    found = TextOutput(text, "eos", input_tokens=1, output_tokens=1, truncated=False).cut(stops)

    assert (found.text, found.finish_reason) == (left, reason)


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("Hello", "Hello"),
        ("Hello #", "Hello "),
        ("Hello ##", "Hello "),
        ("Hello ###", "Hello "),
        ("Hello #!", "Hello #!"),
    ],
)
def test_what_may_become_a_stop_is_held_back(text: str, final: str) -> None:
    assert final_part(text, ["###"]) == final
