"""The passes of one sentence: what a model is given until all spans are right. The model is a function of the test."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.generator import TextOutput
from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.passes import (
    MAX_WORDS_AGAIN,
    NAMES,
    NUMBERS,
    PassesSideBySide,
    SentencePasses,
    SinglePass,
    StagedPasses,
)
from slimseq.inference.text.spans import find_spans

Model = Callable[[str], str]
# The tokens of each input and output of a model.
INPUT_TOKENS, OUTPUT_TOKENS = 5, 3


def written(text: str, finish_reason: FinishReason = "eos") -> TextOutput:
    return TextOutput(text, finish_reason, INPUT_TOKENS, OUTPUT_TOKENS, truncated=False)


def translate(text: str, model: Model, *, finish_reason: FinishReason = "eos") -> tuple[TextOutput, list[list[str]]]:
    """Runs the passes of a sentence with a model. Returns the output, and what the model was given in each pass."""
    passes = SentencePasses(text, find_spans(text, "en"), "en", "de")
    given: list[list[str]] = []
    while passes.inputs:
        given.append([str(each) for each in passes.inputs])
        passes.receive([written(model(each), finish_reason) for each in given[-1]])
    return passes.output, given


def copy(text: str) -> str:
    """A model that returns what it reads."""
    return text


def without_digits(text: str) -> str:
    return "".join(character for character in text if not character.isdigit())


def without_placeholders(text: str) -> str:
    return " ".join(word for word in text.split() if word.strip(".,") not in (*NAMES, *NUMBERS))


def test_what_models_never_copy_has_a_placeholder_in_the_first_pass() -> None:
    output, passes = translate("See https://a.org/b now.", copy)

    assert passes == [[f"See {NAMES[0]} now."]]
    assert output == written("See https://a.org/b now.")


def test_symbols_around_a_sentence_are_not_read_and_those_in_it_have_a_placeholder() -> None:
    output, passes = translate("✓ The tools of Acme™ are good 👍 now. 😂", copy)

    assert passes == [[f"The tools of {NAMES[0]} are good {NAMES[1]} now."]]
    assert output.text == "✓ The tools of Acme™ are good 👍 now. 😂"


def test_the_sign_of_an_amount_is_where_the_target_language_has_it() -> None:
    # What the model writes for each amount.
    wrong = {"€1,299.99": "€ 1.299,99", "£3.2 billion": "£3,2 Milliarden", "-€5": "-€5", "$7": "$ 7"}

    def model(text: str) -> str:
        for amount, written in wrong.items():
            text = text.replace(amount, written)
        return text

    outputs = {amount: translate(f"It costs {amount} or €12.", model)[0].text for amount in wrong}

    assert outputs == {
        "€1,299.99": "It costs 1.299,99 € or 12 €.",
        "£3.2 billion": "It costs 3,2 Milliarden £ or 12 €.",
        "-€5": "It costs -5 € or 12 €.",
        "$7": "It costs 7 $ or 12 €.",
    }


def test_a_number_with_many_separators_has_a_placeholder_in_the_first_pass() -> None:
    number = "1" + ",000" * 100

    output, passes = translate(f"It has {number} rooms.", copy)

    assert passes == [[f"It has {NAMES[0]} rooms."]]
    assert output.text == f"It has {number.replace(',', '.')} rooms."


def test_models_read_commas_in_place_of_thin_spaces_between_groups_of_digits() -> None:
    output, passes = translate("It has 12\u2009345 rooms.", lambda text: text.replace("12,345", "12.345"))

    assert passes == [["It has 12,345 rooms."]]
    assert output.text == "It has 12.345 rooms."


def test_tags_around_a_sentence_are_not_read() -> None:
    output, passes = translate("<p> <b>Good</b> day. </p>", copy)

    assert passes == [[f"Good {NAMES[0]} day."]]
    assert output.text == "<p> <b>Good</b> day. </p>"


def test_a_number_that_is_only_written_in_the_wrong_way_needs_no_further_pass() -> None:
    output, passes = translate("It costs $1,299.99 here.", copy)

    assert len(passes) == 1
    assert output.text == "It costs 1.299,99 $ here."


def test_a_number_that_is_lost_has_a_placeholder_in_the_second_pass() -> None:
    def model(text: str) -> str:
        return text.replace("£3.2 billion", "£ viel")

    output, passes = translate("It costs £3.2 billion here.", model)

    assert passes == [["It costs £3.2 billion here."], [f"It costs {NUMBERS[0]} here."]]
    assert output.text == "It costs 3,2 Milliarden £ here."
    # The tokens of both outputs count, but the input only once.
    assert (output.input_tokens, output.output_tokens) == (INPUT_TOKENS, 2 * OUTPUT_TOKENS)


def without_both(text: str) -> str:
    """A model that loses all spans, with and without placeholders."""
    return without_digits(without_placeholders(text))


def test_clauses_with_lost_spans_are_translated_alone_and_then_what_is_between_the_spans() -> None:
    output, passes = translate('Mail a@b.org, "now", or call 12.', without_both)

    assert passes[2:] == [["Mail Peter", "now", "or call 12"], ["Mail 112", "or call 112"], ["Mail", "or call"]]
    assert output.text == 'Mail a@b.org, "now", or call 12.'
    assert not output.lost


def test_a_few_words_between_two_lost_spans_are_not_translated_without_the_second_one() -> None:
    output, passes = translate("We met there at 3:30 p.m. on March 5 and left.", without_both)

    assert passes[2] == ["We met there at", "on March 5 and left"]
    assert output.text == "We met there at 15:30 Uhr on 5. März and left."


def test_the_words_of_a_tag_stay_between_it_and_its_end() -> None:
    output, passes = translate("Read <b>the letter</b> again.", lambda text: without_placeholders(text).upper())

    assert passes[2:] == [["Read", "the letter", "again"]]
    assert output.text == "READ <b>THE LETTER</b> AGAIN."


def test_a_long_sentence_is_not_translated_whole_again() -> None:
    _, passes = translate(f"{'very ' * MAX_WORDS_AGAIN} far, 12 miles.", without_digits)

    # The sentence once, then its two parts, and the second part in two further passes.
    assert [len(each) for each in passes] == [1, 2, 1, 1]


def test_a_full_stop_that_a_model_adds_to_a_part_is_dropped() -> None:
    output, _ = translate("Mail a@b.org or c@d.org today.", lambda text: f"{without_placeholders(text).rstrip('.')}.")

    assert output.text == "Mail a@b.org or c@d.org today."


def test_what_does_not_fit_into_the_allowed_tokens_is_said_to_be_lost() -> None:
    output, passes = translate("Mail a@b.org or call 12.", lambda text: "Mail", finish_reason="length")

    assert len(passes) == 1
    assert output.text == "Mail"
    assert output.lost == ("a@b.org", "12")


def test_a_placeholder_that_is_written_twice_is_not_taken() -> None:
    output, passes = translate("Mail a@b.org now.", lambda text: f"{text} {text}" if "Mail " in text else text)

    assert len(passes) == 3
    assert output.text == "Mail a@b.org now."


def test_a_sentence_of_all_placeholders_is_translated() -> None:
    text = f"{' '.join(NAMES)} {' '.join(NUMBERS)} mail a@b.org."

    copied, passes_of_copy = translate(text, copy)
    repaired, _ = translate(text, lambda given: given.replace("@", " "))

    assert passes_of_copy == [[text]]
    assert copied.text == text
    assert repaired.text == text


def test_passes_have_no_output_before_their_end_and_take_none_after_it() -> None:
    passes = SentencePasses("It has 12 rooms.", find_spans("It has 12 rooms.", "en"), "en", "de")

    with pytest.raises(RuntimeError, match="1 inputs left"):
        _ = passes.output
    with pytest.raises(ValueError, match="2 outputs were given for 1 inputs"):
        passes.receive([written("Es hat 12 Räume.")] * 2)
    passes.receive([written("Es hat 12 Räume.")])

    assert not passes.inputs
    assert passes.output == written("Es hat 12 Räume.")
    with pytest.raises(RuntimeError, match="have ended"):
        passes.receive([])


def test_alternatives_have_their_spans_too_and_those_that_lose_one_are_left_out() -> None:
    text = "✓ Mail a@b.org or call 12."
    passes = SentencePasses(text, find_spans(text, "en"), "en", "de")
    others = written(f"Rufe 12 an oder {NAMES[0]}."), written(f"Maile {NAMES[0]}."), written("Rufe 12 an.")

    passes.receive([replace(written(f"Maile {NAMES[0]} oder rufe 12 an."), alternatives=others)])

    assert passes.output.text == "✓ Maile a@b.org oder rufe 12 an."
    assert [each.text for each in passes.output.alternatives] == ["✓ Rufe 12 an oder a@b.org."]


def test_the_clauses_of_a_sentence_are_its_first_inputs_and_each_has_its_own_further_passes() -> None:
    text = "It has 12 big rooms, and we pay $7 a night."
    passes = SentencePasses(text, find_spans(text, "en"), "en", "de", in_clauses=True)

    assert passes.inputs == ["It has 12 big rooms", "and we pay $7 a night"]
    passes.receive([written("Es hat große Räume."), written("und wir zahlen 7 $ pro Nacht.")])
    assert passes.inputs == [f"It has {NUMBERS[0]} big rooms"]
    passes.receive([written(f"Es hat {NUMBERS[0]} große Räume.")])

    assert passes.output.text == "Es hat 12 große Räume, und wir zahlen 7 $ pro Nacht."
    assert passes.output.output_tokens == 3 * OUTPUT_TOKENS


def test_passes_side_by_side_get_their_own_outputs_and_may_end_at_different_times() -> None:
    class Twice(StagedPasses):
        def __init__(self, text: str) -> None:
            super().__init__()
            self._run(SinglePass(text), lambda output: self._run(SinglePass(output.text), self._finish))

    passes = PassesSideBySide([SinglePass("a"), Twice("b"), SinglePass("c")])

    assert passes.inputs == ["a", "b", "c"]
    passes.receive([written("A"), written("B"), written("C")])
    assert passes.inputs == ["B"]
    passes.receive([written("BB")])
    assert passes.inputs == []
    assert [each.text for each in passes.outputs] == ["A", "BB", "C"]


WORDS = ["a", "Tom", "see", "`x`", "a@b.org", "$7", "3.5", "12", "17", "<b>", ",", "March 5"]
MODELS: list[Model] = [
    copy,
    without_digits,
    without_placeholders,
    lambda text: "",
    lambda text: f"{text} {text}",
    lambda text: f"99 {NUMBERS[0]} {NAMES[0]}",
]


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), st.sampled_from(MODELS))
def test_no_model_loses_a_span(words: list[str], model: Model) -> None:
    text = f"{' '.join(words)} end"
    spans = find_spans(text, "en")
    if not spans:
        return

    output, passes = translate(text, model)

    # Two passes of the sentence, two of each of two partings, and one of what is between the spans.
    assert len(passes) <= 2 + 2 * 2 + 1
    assert not output.lost
    for span in spans:
        if span.text in ("`x`", "a@b.org", "<b>"):
            assert span.text in output.text
