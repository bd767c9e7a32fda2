"""A prompt becomes rows, within limits and in linear time, and outputs of rows become texts."""

import pytest

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.alignment import AlignedPasses
from slimseq.inference.text.errors import InvalidPrompt, TextTooLong
from slimseq.inference.text.plan import MAX_SCORED_CHARACTERS, plan
from slimseq.inference.text.rows import Plan, Prompt
from tests.cpu_time import cpu_seconds

TWO_TEXTS = ["One. Two.", "Three."]


def planned(generator: TextGenerator, prompt: Prompt) -> Plan:
    return plan(generator, prompt, max_rows=4096)


def test_translation_makes_a_row_of_each_sentence_and_a_summary_one_of_each_text(
    translator: TextGenerator, summarizer: TextGenerator
) -> None:
    assert len(planned(translator, Prompt(TWO_TEXTS)).rows) == 3
    assert len(planned(summarizer, Prompt(TWO_TEXTS)).rows) == 2


def test_outputs_add_up_to_texts(translator: TextGenerator) -> None:
    outputs = [
        TextOutput("Eins.", "eos", 3, 4, False),
        TextOutput("Zwei", "length", 5, 6, True),
        TextOutput("Drei.", "eos", 7, 8, False),
    ]

    first, second = planned(translator, Prompt(TWO_TEXTS)).assemble(outputs)

    assert first == TextOutput("Eins. Zwei", "length", 8, 10, True)
    assert second == TextOutput("Drei.", "eos", 7, 8, False)


def test_the_log_probability_of_a_text_is_the_mean_over_all_of_its_tokens(translator: TextGenerator) -> None:
    known = [
        TextOutput("Eins.", "eos", 3, 4, False, mean_log_probability=-1.0),
        TextOutput("", "eos", 5, 0, False, mean_log_probability=None),
        TextOutput("Drei.", "eos", 7, 8, False, mean_log_probability=None),
    ]
    both = planned(translator, Prompt(["One. Two.", "Three."]))
    one = planned(translator, Prompt(["One. Two. Three."]))

    assert [text.mean_log_probability for text in both.assemble(known)] == [-1.0, None]
    assert one.assemble(known)[0].mean_log_probability is None
    known[2] = TextOutput("Drei.", "eos", 7, 8, False, mean_log_probability=-0.25)
    assert one.assemble(known)[0].mean_log_probability == pytest.approx(-0.5)
    assert planned(translator, Prompt([""])).assemble([])[0].mean_log_probability is None


def test_a_text_that_must_not_be_cut_is_refused_with_its_place(summarizer: TextGenerator) -> None:
    long = "The river is long. " * 500

    assert planned(summarizer, Prompt(["Short.", long])).rows[1].is_truncated
    with pytest.raises(TextTooLong, match=r"text\[1\]: the text has \d+ tokens"):
        planned(summarizer, Prompt(["Short.", long], on_overflow="error"))
    with pytest.raises(TextTooLong, match=r"^text: the text has"):
        planned(summarizer, Prompt([long], on_overflow="error"))


def test_more_parts_than_a_worker_takes_are_refused_before_all_are_there(translator: TextGenerator) -> None:
    checks: list[None] = []

    with pytest.raises(InvalidPrompt, match="more than 500 segments"):
        plan(translator, Prompt(["Yes.\n" * 400, "No.\n" * 400]), 500, check=lambda: checks.append(None))

    assert len(checks) <= 2 * 502
    with pytest.raises(InvalidPrompt, match="more than 125 segments, the most with its num_beams"):
        plan(translator, Prompt(["Yes.\n" * 200], {"num_beams": 16}), 500)


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "e\u0301" * 100_000, "Yes. " * 800, "\n" * 200_000 + "Yes.", "a " * 100_000]
)
def test_long_texts_are_planned_in_linear_time(translator: TextGenerator, text: str) -> None:
    assert cpu_seconds(lambda: planned(translator, Prompt([text])), below=1) < 1


def test_forced_passes_of_a_request_read_a_limited_number_of_characters(translator: TextGenerator) -> None:
    sentences = "".join("<p>The cat sleeps on <b>the warm stone</b> now.</p>" for _ in range(400))

    passes = planned(translator, Prompt([sentences], format="html")).passes.values()

    # A sentence has 37 characters without tags. They are read twice: with the element, and without it.
    aligned = sum(isinstance(each, AlignedPasses) for each in passes)
    assert aligned == MAX_SCORED_CHARACTERS // (2 * 37)
