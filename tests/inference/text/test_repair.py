"""Outputs that are generated once more: which, with what, and which of the candidates is taken."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.plan import Plan, Prompt, RowPasses, plan
from slimseq.inference.text.repair import MAX_ROWS_OF_TEXT, plan_repair
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import REPAIR_NGRAM_SIZE, GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

SOURCE = "The old man sells red apples, and the young man buys green pears."
LOOP = "Der alte Mann verkauft Äpfel, verkauft Äpfel, verkauft Äpfel und Birnen."
GOOD = "Der alte Mann verkauft rote Äpfel, und der junge Mann kauft grüne Birnen."
CLAUSES = ["Der alte Mann verkauft rote Äpfel.", "und der junge Mann kauft grüne Birnen"]


@pytest.fixture(scope="module")
def translator(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.TRANSLATION, "quantized") as generator:
        yield generator


@pytest.fixture(scope="module")
def summarizer(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.SUMMARIZATION, "quantized") as generator:
        yield generator


def generated(*texts: str, reason: FinishReason = "eos", tokens: int = 9) -> list[TextOutput]:
    return [TextOutput(text, reason, 9, tokens, False) for text in texts]


class Tries:
    """The further tries of a prompt, given the outputs of its rows."""

    def __init__(self, generator: TextGenerator, prompt: Prompt, first: Sequence[TextOutput]) -> None:
        planned = plan(generator, prompt, max_rows=4096)
        _, warnings = planned.checked(first)
        self.is_needed = planned.needs_repair(warnings)
        self.plan: Plan = plan_repair(generator, planned, first, warnings)
        self._passes = RowPasses(generator, self.plan)
        self.rows: Sequence[Encoding] = self._passes.begin(enumerate(first))

    def go_on(self, outputs: Sequence[TextOutput]) -> TextOutput:
        """Returns the first text once the rows have these outputs."""
        assert not self._passes.go_on(outputs)
        return self.plan.assemble(self._passes.in_order)[0]


def test_a_loop_is_tried_again_as_a_whole_and_in_clauses_with_n_grams_blocked(translator: TextGenerator) -> None:
    tries = Tries(translator, Prompt([f"It is late. {SOURCE}"]), generated("Es ist spät.", LOOP))

    assert tries.is_needed and len(tries.rows) == 3
    assert tries.plan.options.no_repeat_ngram_size == REPAIR_NGRAM_SIZE and tries.plan.options.has_full_vocabulary
    output = tries.go_on(generated(GOOD, *CLAUSES))
    assert (output.text, output.repaired) == (f"Es ist spät. {GOOD}", ("repetition",))
    assert not tries.plan.checked(generated("Es ist spät.", GOOD))[1][0]


def test_the_clauses_are_taken_where_the_whole_sentence_loops_again(translator: TextGenerator) -> None:
    tries = Tries(translator, Prompt([SOURCE]), generated(LOOP))

    output = tries.go_on(generated(LOOP, *CLAUSES))

    assert (output.text, output.repaired) == (GOOD, ("repetition",))


@pytest.mark.parametrize(
    ("whole", "reason", "tokens"),
    [
        (LOOP, "eos", 9),
        ("Äpfel.", "eos", 9),
        (SOURCE, "eos", 9),
        (GOOD, "length", 9),
        (GOOD, "eos", 1000),
    ],
)
def test_a_candidate_with_any_warning_or_too_many_tokens_leaves_the_output_as_it_was(
    translator: TextGenerator, whole: str, reason: FinishReason, tokens: int
) -> None:
    first = generated(LOOP)
    tries = Tries(translator, Prompt([SOURCE]), first)

    output = tries.go_on(generated(whole, whole, "", reason=reason, tokens=tokens))

    assert [output] == first and output.repaired == ()


@pytest.mark.parametrize(
    ("source", "output", "options", "repaired"),
    [
        (SOURCE, "Äpfel.", {}, "length"),
        ("It has 25 rooms, and every room is big.", "Es hat viele Zimmer.", {"protect": False}, "lost"),
    ],
)
def test_what_is_too_short_or_lost_a_number_is_tried_again(
    translator: TextGenerator, source: str, output: str, options: dict[str, Any], repaired: str
) -> None:
    good = GOOD if source == SOURCE else "Es hat 25 Zimmer, und jedes Zimmer ist groß."

    tries = Tries(translator, Prompt([source], **options), generated(output))

    assert tries.go_on([*generated(good), *generated(*CLAUSES)[: len(tries.rows) - 1]]).repaired == (repaired,)


@pytest.mark.parametrize(
    ("prompt", "output"),
    [
        (Prompt([SOURCE]), GOOD),
        (Prompt([SOURCE]), SOURCE),
        (Prompt([SOURCE], repair=False), LOOP),
        (Prompt(["Yes, yes, yes, yes, yes."]), "Ja, ja, ja, ja, ja."),
    ],
)
def test_nothing_runs_where_nothing_can_be_repaired(translator: TextGenerator, prompt: Prompt, output: str) -> None:
    assert not Tries(translator, prompt, generated(output)).is_needed


def test_facts_stay_in_a_further_try(translator: TextGenerator) -> None:
    source, good = "It costs $7 today, and it cost $9 last week.", "Es kostet heute 7 $ und kostete letzte Woche 9 $."

    tries = Tries(translator, Prompt([source]), generated("Es kostet 7 $, kostet 7 $, kostet 7 $, kostet 9 $."))

    assert tries.go_on(generated(good, "Es kostet heute 7 $", "und kostete letzte Woche 9 $")).text == good
    # Of a candidate without them, the parts are translated, as without a repair.
    tries = Tries(translator, Prompt([source]), generated("Es kostet 7 $, kostet 7 $, kostet 7 $, kostet 9 $."))
    with pytest.raises(AssertionError):
        tries.go_on(generated("Es kostet.", "Es kostet heute 7 $", "und kostete letzte Woche 9 $"))


def test_a_stop_string_ends_a_further_try(translator: TextGenerator) -> None:
    tries = Tries(translator, Prompt([SOURCE], stop=(", und",)), generated(LOOP))

    output = tries.go_on(generated(GOOD, *CLAUSES))

    assert (output.text, output.finish_reason) == ("Der alte Mann verkauft rote Äpfel", "stop")


def test_a_summary_is_generated_again_as_a_whole(summarizer: TextGenerator) -> None:
    prompt = Prompt([f"{SOURCE} It is late."], prefix="headline: ")
    tries = Tries(summarizer, prompt, generated("Apples and pears, apples and pears, apples and pears."))

    assert list(tries.rows) == plan(summarizer, prompt, 1).rows
    assert tries.go_on(generated("A man sells apples.")).repaired == ("repetition",)


def test_of_a_text_with_many_loops_the_first_are_tried_again(translator: TextGenerator) -> None:
    count = MAX_ROWS_OF_TEXT + 5

    tries = Tries(translator, Prompt([" ".join([SOURCE] * count)] * 2), generated(*[LOOP] * 2 * count))

    assert sorted(tries.plan.passes) == [*range(MAX_ROWS_OF_TEXT), *range(count, count + MAX_ROWS_OF_TEXT)]


def test_options_of_a_further_try_keep_what_the_request_asked_for() -> None:
    options = GenerationOptions(num_beams=2, no_repeat_ngram_size=5).beginning_with(7)

    again = options.trying_again()

    assert (again.num_beams, again.no_repeat_ngram_size, again.forced_bos_token_id) == (2, 5, 7)
    assert again.has_full_vocabulary and not options.has_full_vocabulary and again != options
