"""A prompt becomes rows, within limits and in linear time, and outputs of rows become texts."""

import pytest

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.alignment import AlignedPasses
from slimseq.inference.text.errors import InvalidPrompt, TextTooLong
from slimseq.inference.text.plan import MAX_SCORED_CHARACTERS, USUAL_BEAMS, plan
from slimseq.inference.text.rows import Plan, Prompt
from tests.cpu_time import cpu_seconds

TWO_TEXTS = ["One. Two.", "Three."]


def output(
    text: str,
    *,
    output_tokens: int,
    input_tokens: int = 1,
    finish_reason: FinishReason = "eos",
    truncated: bool = False,
    mean_log_probability: float | None = None,
) -> TextOutput:
    return TextOutput(
        text=text,
        finish_reason=finish_reason,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        truncated=truncated,
        mean_log_probability=mean_log_probability,
    )


# Fewer than the sentences of the texts that have too many.
MAX_ROWS = 500
# The output of a sentence without a token, and so without a log-probability.
EMPTY = output("", output_tokens=0)


def planned(generator: TextGenerator, prompt: Prompt) -> Plan:
    return plan(generator, prompt, max_rows=4096)


def test_translation_makes_a_row_of_each_sentence_and_a_summary_one_of_each_text(
    translator: TextGenerator, summarizer: TextGenerator
) -> None:
    assert len(planned(translator, Prompt(TWO_TEXTS)).rows) == 3
    assert len(planned(summarizer, Prompt(TWO_TEXTS)).rows) == 2


def test_outputs_add_up_to_texts(translator: TextGenerator) -> None:
    outputs = [
        output("Eins.", input_tokens=3, output_tokens=4),
        output("Zwei", input_tokens=5, output_tokens=6, finish_reason="length", truncated=True),
        output("Drei.", input_tokens=7, output_tokens=8),
    ]

    first, second = planned(translator, Prompt(TWO_TEXTS)).assemble(outputs)

    assert first == output(
        "Eins. Zwei", input_tokens=3 + 5, output_tokens=4 + 6, finish_reason="length", truncated=True
    )
    assert second == output("Drei.", input_tokens=7, output_tokens=8)


def test_the_log_probability_of_a_text_is_the_mean_over_all_of_its_tokens(translator: TextGenerator) -> None:
    outputs = [
        output("Eins.", output_tokens=4, mean_log_probability=-1.0),
        EMPTY,
        output("Drei.", output_tokens=8, mean_log_probability=-0.25),
    ]

    [text] = planned(translator, Prompt(["One. Two. Three."])).assemble(outputs)

    assert text.mean_log_probability == pytest.approx((4 * -1.0 + 8 * -0.25) / (4 + 8))


def test_a_text_with_an_unknown_log_probability_has_none(translator: TextGenerator) -> None:
    outputs = [
        output("Eins.", output_tokens=4, mean_log_probability=-1.0),
        EMPTY,
        output("Drei.", output_tokens=8, mean_log_probability=None),
    ]

    two_texts = planned(translator, Prompt(TWO_TEXTS)).assemble(outputs)
    [one_text] = planned(translator, Prompt(["One. Two. Three."])).assemble(outputs)
    [empty_text] = planned(translator, Prompt([""])).assemble([])

    assert [text.mean_log_probability for text in two_texts] == [-1.0, None]
    assert one_text.mean_log_probability is None
    assert empty_text.mean_log_probability is None


def test_a_text_that_must_not_be_cut_is_refused_with_its_place(summarizer: TextGenerator) -> None:
    long = "The river is long. " * 500

    assert planned(summarizer, Prompt(["Short.", long])).rows[1].is_truncated
    with pytest.raises(TextTooLong, match=r"text\[1\]: the text has \d+ tokens"):
        planned(summarizer, Prompt(["Short.", long], on_overflow="error"))
    with pytest.raises(TextTooLong, match=r"^text: the text has"):
        planned(summarizer, Prompt([long], on_overflow="error"))


def test_more_parts_than_a_worker_takes_are_refused_before_all_are_there(translator: TextGenerator) -> None:
    checks: list[None] = []

    with pytest.raises(InvalidPrompt, match=f"more than {MAX_ROWS} segments"):
        plan(translator, Prompt(["Yes.\n" * 400, "No.\n" * 400]), MAX_ROWS, check=lambda: checks.append(None))

    # At most two for each sentence up to the one that is too many, and two for the two texts.
    assert len(checks) <= 2 * (MAX_ROWS + 1) + 2


def test_with_more_beams_than_usual_a_worker_takes_fewer_parts(translator: TextGenerator) -> None:
    num_beams = 4 * USUAL_BEAMS

    with pytest.raises(InvalidPrompt, match=f"more than {MAX_ROWS // 4} segments, the most with its num_beams"):
        plan(translator, Prompt(["Yes.\n" * 200], {"num_beams": num_beams}), MAX_ROWS)


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "e\u0301" * 100_000, "Yes. " * 800, "\n" * 200_000 + "Yes.", "a " * 100_000]
)
def test_long_texts_are_planned_in_linear_time(translator: TextGenerator, text: str) -> None:
    # A second is far more than a linear plan takes. A quadratic one takes minutes.
    assert cpu_seconds(lambda: planned(translator, Prompt([text])), below=1) < 1


def test_forced_passes_of_a_request_read_a_limited_number_of_characters(translator: TextGenerator) -> None:
    sentences = "".join("<p>The cat sleeps on <b>the warm stone</b> now.</p>" for _ in range(400))

    passes = planned(translator, Prompt([sentences], format="html")).passes.values()

    # A sentence has 37 characters without tags. They are read twice: with the element, and without it.
    aligned = sum(isinstance(each, AlignedPasses) for each in passes)
    assert aligned == MAX_SCORED_CHARACTERS // (2 * 37)
