"""The passes of the sentences of a prompt, and how their outputs become its texts."""

from collections.abc import Sequence

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Prompt, RowPasses


def outputs(translator: TextGenerator, prompt: Prompt, *passes: Sequence[str]) -> list[TextOutput]:
    """Returns the outputs of a prompt. `passes` are the texts that the model generates, pass by pass."""
    planned = plan(translator, prompt, max_rows=4096)
    row_passes = RowPasses(translator, planned)
    next_texts = iter(passes)
    rows = row_passes.begin(enumerate(generated(*next(next_texts))))
    while rows:
        rows = row_passes.go_on(generated(*next(next_texts)[: len(rows)]))
    return planned.assemble(row_passes.in_order)


def generated(*texts: str, reason: FinishReason = "eos") -> list[TextOutput]:
    return [TextOutput(text, reason, input_tokens=4, output_tokens=3, truncated=False) for text in texts]


def test_only_sentences_whose_spans_are_wrong_are_translated_again(translator: TextGenerator) -> None:
    prompt = Prompt(["It is late. It costs $7. It has 12 rooms."])
    first_pass = ["Spät.", "Es kostet etwas.", "Es hat 12 Räume."]

    [output] = outputs(translator, prompt, first_pass, ["Es kostet nun."], ["Es kostet"])

    assert output.text == "Spät. Es kostet 7 $. Es hat 12 Räume."
    # Three sentences with one pass, and two further passes of the second one. Each output has 3 tokens, each input 4.
    assert output.output_tokens == (3 + 2) * 3
    assert output.input_tokens == 3 * 4


def test_what_was_lost_is_that_of_all_sentences(translator: TextGenerator) -> None:
    planned = plan(translator, Prompt(["Mail a@b.org. It costs $7."]), max_rows=4096)
    passes = RowPasses(translator, planned)

    further_rows = passes.begin(enumerate(generated("Ja", "Ja", reason="length")))
    [output] = planned.assemble(passes.in_order)

    assert not further_rows
    assert output.lost == ("a@b.org", "$7")
    assert output.finish_reason == "length"


def test_segments_without_words_make_no_rows(translator: TextGenerator) -> None:
    [first, second] = outputs(translator, Prompt(["1,299.99\n\nIt is late.\n42", "3.5%"]), ["Es ist spät."])

    assert first.text == "1.299,99\n\nEs ist spät.\n42"
    assert second == TextOutput("3,5 %", "eos", input_tokens=0, output_tokens=0, truncated=False)


def test_segments_of_signs_alone_make_no_rows_and_stay(translator: TextGenerator) -> None:
    signs = ["(" * 10_000, "\0", "\u200b", "→ … 😀", '"' * 1000]

    answers = outputs(translator, Prompt([*signs, "It is late.\n\n* * *\n"]), ["Es ist spät."])

    assert [output.text for output in answers] == [*signs, "Es ist spät.\n\n* * *\n"]


def test_no_sentence_ends_within_a_span(translator: TextGenerator) -> None:
    text = "Type `Stop. Go on. Now` here. It is late."

    planned = plan(translator, Prompt([text]), max_rows=4096)

    assert [segment.text for segment in planned.texts[0].segments] == ["Type `Stop. Go on. Now` here.", "It is late."]


def test_no_space_is_added_beside_tags(translator: TextGenerator) -> None:
    text = "<p>Good day.</p><p>Good night!<br/> It is late.</p> <b>Then</b> he left. 5 came."

    planned = plan(translator, Prompt([text]), max_rows=4096)

    segments = [segment.text for segment in planned.texts[0].segments]
    assert planned.texts[0].join(segments) == text


def test_a_long_list_of_numbers_is_several_segments(translator: TextGenerator) -> None:
    text = "Rooms " + ", ".join(map(str, range(1000, 1100))) + " are free."

    planned = plan(translator, Prompt([text]), max_rows=4096)

    assert planned.texts[0].join([segment.text for segment in planned.texts[0].segments]) == text
    assert len(planned.rows) == 2
