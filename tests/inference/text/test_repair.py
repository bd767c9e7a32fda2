"""Outputs that are generated once more: which, with what, and which of the candidates is taken."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slimseq.inference.generator import Score, TextGenerator, TextOutput
from slimseq.inference.load import load
from slimseq.inference.text.plan import plan
from slimseq.inference.text.repair import MAX_LOSS, MAX_ROWS_OF_TEXT, NGRAM_SIZE, RepairPasses, plan_repair
from slimseq.inference.text.rows import Prompt, RowPasses
from slimseq.inference.text.warnings import is_repairable
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import UnrestrictedOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

SOURCE = "The old man sells red apples, and the young man buys green pears."
LOOP = "Der alte Mann verkauft Äpfel, verkauft Äpfel, verkauft Äpfel und Birnen."
GOOD = "Der alte Mann verkauft rote Äpfel, und der junge Mann kauft grüne Birnen."
# Of each generated output.
TOKENS = 9
LOG_PROBABILITY = -0.1
CLAUSES = ["Der alte Mann verkauft rote Äpfel.", "und der junge Mann kauft grüne Birnen"]


def generated(*texts: str, **fields: Any) -> list[TextOutput]:
    outputs = []
    for text in texts:
        output = TextOutput(
            text,
            finish_reason="eos",
            input_tokens=TOKENS,
            output_tokens=TOKENS,
            truncated=False,
            mean_log_probability=LOG_PROBABILITY,
        )
        outputs.append(replace(output, **fields))
    return outputs


def plan_tries(
    generator: TextGenerator, prompt: Prompt, first: Sequence[TextOutput]
) -> tuple[RowPasses, list[Encoding]]:
    """The further tries of a prompt, given the outputs of its rows, and the rows that they generate.

    `begin` takes the first outputs and returns the rows to try. `go_on` takes the outputs of these rows and returns
    further rows, or none. `assemble` joins the final outputs of all rows to texts.
    """
    planned = plan(generator, prompt, max_rows=4096)
    _, warnings = planned.checked(first)
    passes = RowPasses(generator, plan_repair(generator, planned, first, warnings))
    return passes, passes.begin(enumerate(first))


def repair_with(passes: RowPasses, outputs: Sequence[TextOutput]) -> TextOutput:
    """The first text once the rows have these outputs."""
    assert not passes.go_on(outputs)
    return passes.plan.assemble(passes.in_order)[0]


def test_the_clauses_of_a_loop_are_translated_alone_and_no_other_sentence_again(translator: TextGenerator) -> None:
    prompt = Prompt([f"It is late. {SOURCE}"], {"num_beams": 2})

    passes, rows = plan_tries(translator, prompt, generated("Es ist spät.", LOOP))

    options = passes.plan.options
    # Two clauses and the whole sentence.
    assert len(rows) == 3
    assert isinstance(options, UnrestrictedOptions)
    assert (options.num_beams, options.no_repeat_ngram_size) == (2, NGRAM_SIZE)
    output = repair_with(passes, generated(*CLAUSES, LOOP, input_tokens=5))
    assert (output.text, output.repaired) == (f"Es ist spät. {GOOD}", ("repetition",))
    # The input of both sentences. The output of the first sentence, and of the two clauses of the second one.
    assert output.input_tokens == TOKENS + TOKENS
    assert output.output_tokens == TOKENS + 2 * TOKENS


def test_the_output_of_a_row_comes_first_and_then_its_tries(translator: TextGenerator) -> None:
    planned = plan(translator, Prompt([SOURCE]), max_rows=4096)
    passes = RepairPasses(planned, 0, planned.segments[0], {"repetition"})

    assert passes.inputs == planned.rows
    passes.receive(generated(LOOP))
    clauses = ["The old man sells red apples", "and the young man buys green pears"]
    assert passes.inputs == [*clauses, SOURCE]
    passes.receive(generated(LOOP, LOOP, GOOD))

    assert passes.output == generated(GOOD, repaired=("repetition",))[0]


def test_the_whole_sentence_is_taken_where_its_clauses_are_no_better(translator: TextGenerator) -> None:
    passes, _ = plan_tries(translator, Prompt([SOURCE]), generated(LOOP))

    output = repair_with(passes, generated("", "", GOOD))

    assert (output.text, output.finish_reason) == (GOOD, "eos")


def test_a_try_that_is_taken_ends_at_the_stop_string(translator: TextGenerator) -> None:
    passes, _ = plan_tries(translator, Prompt([SOURCE], stop=(", und",)), generated(LOOP))

    output = repair_with(passes, generated("", "", GOOD))

    assert (output.text, output.finish_reason) == ("Der alte Mann verkauft rote Äpfel", "stop")


@pytest.mark.parametrize(
    ("whole", "fields"),
    [
        (LOOP, {}),
        ("Äpfel.", {}),
        (SOURCE, {}),
        (GOOD, {"finish_reason": "length"}),
        (GOOD, {"output_tokens": 1000}),
        (GOOD, {"mean_log_probability": LOG_PROBABILITY - MAX_LOSS - 0.1}),
    ],
    ids=["a loop", "too short", "untranslated", "cut", "too long", "improbable"],
)
def test_a_candidate_with_a_warning_or_too_many_or_improbable_tokens_leaves_the_output_as_it_was(
    translator: TextGenerator, whole: str, fields: dict[str, Any]
) -> None:
    first = generated(LOOP)

    passes, _ = plan_tries(translator, Prompt([SOURCE]), first)

    assert [repair_with(passes, generated("", "", whole, **fields))] == first


@pytest.mark.parametrize(
    ("prompt", "first", "tries", "kind"),
    [
        (Prompt([SOURCE]), "Äpfel.", [*CLAUSES, ""], "length"),
        (
            Prompt(["It has 25 big rooms."], protect=False),
            "Es hat viele große Zimmer.",
            ["Es hat 25 große Zimmer", "Es hat."],
            "lost",
        ),
    ],
    ids=["too short", "a number is lost"],
)
def test_what_is_too_short_or_lost_a_number_is_tried_again(
    translator: TextGenerator, prompt: Prompt, first: str, tries: list[str], kind: str
) -> None:
    passes, _ = plan_tries(translator, prompt, generated(first))

    assert repair_with(passes, generated(*tries)).repaired == (kind,)


@pytest.mark.parametrize(
    ("prompt", "output"),
    [
        (Prompt([SOURCE]), GOOD),
        (Prompt([SOURCE]), SOURCE),
        (Prompt([SOURCE], repair=False), LOOP),
        (Prompt(["Yes, yes, yes, yes, yes."]), "Ja, ja, ja, ja, ja."),
    ],
    ids=["no fault", "untranslated", "repair is turned off", "the source repeats itself"],
)
def test_nothing_runs_where_nothing_can_be_repaired(translator: TextGenerator, prompt: Prompt, output: str) -> None:
    planned = plan(translator, prompt, max_rows=4096)
    _, warnings = planned.checked(generated(output))

    assert not planned.needs_repair(warnings)


def test_facts_and_markup_stay(translator: TextGenerator) -> None:
    source = "<p>It costs <b>$7</b> today, and it did cost $9 last week.</p>"
    # The characters 10 to 13 of the output, "7 $", belong to the first inline element of the source, `<b>`.
    bold = Score(start=10, end=13, value=1.0)
    loop = generated("Es kostet 7 $, kostet 7 $, kostet 7 $, kostet 9 $.", scores=(bold,))
    passes, _ = plan_tries(translator, Prompt([source], format="html"), loop)

    scored = passes.go_on([*generated("Es kostet heute 7 $", "und es kostete letzte Woche 9 $"), *loop])

    text = "Es kostet heute 7 $, und es kostete letzte Woche 9 $."
    # The text is scored twice: for the sentence, and for the sentence with a placeholder in place of `<b>`.
    assert [row.output.text for row in scored if row.output] == [text, text]
    written = repair_with(passes, generated(text, text)).text
    assert "<b>" in written
    assert written.replace("<b>", "").replace("</b>", "") == f"<p>{text}</p>"


def test_few_loops_of_a_real_translator_stay(embedded: Store) -> None:
    lines = Path(__file__).with_name("loops.txt").read_text(encoding="utf-8").splitlines()
    texts = [line for line in lines if not line.startswith("# ")][::2]

    with load(embedded.folder(Task.TRANSLATION, "quantized")) as model:
        before, after = (model.generate(texts, repair=each, num_beams=1) for each in (False, True))

    wrong = [(first, output) for first, output in zip(before, after, strict=True) if is_repairable(first.warnings)]
    assert len(wrong) >= len(texts) / 10
    assert sum(is_repairable(output.warnings) for _, output in wrong) <= len(wrong) / 5
    assert all(first == output for first, output in zip(before, after, strict=True) if not output.repaired)


def test_a_summary_is_generated_again_as_a_whole(summarizer: TextGenerator) -> None:
    prompt = Prompt([f"{SOURCE} It is late."], prefix="headline: ")

    passes, rows = plan_tries(summarizer, prompt, generated("Red apples, red apples, red apples, red apples."))

    assert rows == plan(summarizer, prompt, max_rows=1).rows
    assert repair_with(passes, generated("A man sells apples.")).repaired == ("repetition",)


def test_of_a_text_with_many_loops_the_first_are_tried_again(translator: TextGenerator) -> None:
    count = MAX_ROWS_OF_TEXT + 5

    passes, _ = plan_tries(translator, Prompt([" ".join([SOURCE] * count)] * 2), generated(*[LOOP] * 2 * count))

    of_first_text = range(MAX_ROWS_OF_TEXT)
    of_second_text = range(count, count + MAX_ROWS_OF_TEXT)
    assert sorted(passes.plan.passes) == [*of_first_text, *of_second_text]
