import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from slimseq.app.serving.batching.request import Generated
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.app.serving.documents.plan import plan
from slimseq.app.serving.documents.planner import Planner
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.documents.protection import all_passes, with_further_passes
from slimseq.app.serving.terms import Due
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.inference.text.protection.passes import NAMES, Passes
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.generators import EchoGenerator


@pytest.fixture(scope="module")
def translator(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.TRANSLATION, "quantized") as generator:
        yield generator


def scripted(translator: TextGenerator, *passes: Sequence[str]) -> Callable[[Sequence[Encoding]], list[TextOutput]]:
    """Generates given texts, pass by pass."""
    left = iter(passes)
    return lambda rows: [TextOutput(text, "eos", 4, 3, False) for _, text in zip(rows, next(left), strict=True)]


def outputs(translator: TextGenerator, prompt: Prompt, *passes: Sequence[str]) -> list[TextOutput]:
    planned = plan(translator, prompt, max_rows=4096)
    done = all_passes(translator, planned, scripted(translator, *passes))
    return planned.assemble([done.outputs[row] for row in range(len(planned.rows))])


def test_only_sentences_whose_spans_are_wrong_are_translated_again(translator: TextGenerator) -> None:
    prompt = Prompt(["It is late. It costs $7. It has 12 rooms."])

    first_pass = ["Spät.", "Es kostet etwas.", "Es hat 12 Räume."]

    [output] = outputs(translator, prompt, first_pass, ["Es kostet nun."], ["Es kostet"])

    assert output.text == "Spät. Es kostet 7 $. Es hat 12 Räume."
    assert output.output_tokens == 3 * 5 and output.input_tokens == 3 * 4


def test_what_was_lost_is_that_of_all_sentences(translator: TextGenerator) -> None:
    planned = plan(translator, Prompt(["Mail a@b.org. It costs $7."]), max_rows=4096)

    done = all_passes(translator, planned, lambda rows: [TextOutput("Ja", "length", 4, 3, False) for _ in rows])

    [output] = planned.assemble([done.outputs[row] for row in range(2)])
    assert output.lost == ("a@b.org", "$7") and output.finish_reason == "length"


def test_segments_without_words_make_no_rows(translator: TextGenerator) -> None:
    [first, second] = outputs(translator, Prompt(["1,299.99\n\nIt is late.\n42", "3.5%"]), ["Es ist spät."])

    assert first.text == "1.299,99\n\nEs ist spät.\n42"
    assert second == TextOutput("3,5 %", "eos", 0, 0, False)


def test_segments_of_signs_alone_make_no_rows_and_stay(translator: TextGenerator) -> None:
    signs = ["(" * 10_000, "\0", "\u200b", "→ … 😀", '"' * 1000]

    answers = outputs(translator, Prompt([*signs, "It is late.\n\n* * *\n"]), ["Es ist spät."])

    assert [output.text for output in answers] == [*signs, "Es ist spät.\n\n* * *\n"]


def test_without_protection_every_segment_is_a_row_as_it_is(translator: TextGenerator) -> None:
    planned = plan(translator, Prompt(["42. See https://a.org/b."], protect=False), max_rows=4096)

    assert len(planned.rows) == 2 and not planned.passes


def test_given_ranges_come_back_byte_for_byte(translator: TextGenerator) -> None:
    text = "Press the [big  button] now."
    prompt = Prompt([text, "It is late."], protect=False, ranges=[[(10, 23)], []])

    [first, second] = outputs(translator, prompt, [f"{NAMES[0]} jetzt.", "Spät."])

    assert first.text == "[big  button] jetzt." and second.text == "Spät."


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


def test_stop_strings_end_what_is_restored(translator: TextGenerator) -> None:
    [output] = outputs(translator, Prompt(["Mail a@b.org now."], stop=("b.org",)), [f"{NAMES[0]} jetzt."])

    assert (output.text, output.finish_reason) == ("a@", "stop")


@pytest.mark.parametrize(
    ("text", "thread"), [("It is 7.", "MainThread"), (f"It is 7, {'and the house is big, ' * 500}", "planner usual_0")]
)
def test_a_sentence_of_any_length_is_masked_again_on_a_thread(
    translator: TextGenerator, text: str, thread: str
) -> None:
    found = TextOutput("Es ist 7.", "eos", 4, 3, False)
    threads: list[str] = []

    def noted() -> Passes:
        for _ in range(2):
            yield ["It is 7."]
            threads.append(threading.current_thread().name)
        return found

    async def scenario() -> Generated:
        planner, planned = Planner(), plan(translator, Prompt([text]), max_rows=4096)
        planned.passes[0] = noted()
        next(planned.passes[0])
        batching = StaticBatching(EchoGenerator(), "translation/test", WorkLimits(wait_seconds=0))
        first = Generated([found], 0.0, 0.0)
        done = await with_further_passes(batching, translator, planned, first, Due.within(60), planner)
        batching.close()
        planner.close()
        return done

    assert asyncio.run(scenario()).outputs == [found]
    assert threads == [thread, thread]


def test_the_further_passes_of_equal_sentences_are_generated_once(translator: TextGenerator) -> None:
    async def scenario() -> Generated:
        echo, planner = EchoGenerator(), Planner()
        batching = StaticBatching(echo, "translation/test", WorkLimits(wait_seconds=0))
        planned = plan(translator, Prompt(["It is 7."] * 3, format="markdown"), max_rows=4096)
        first = Generated([TextOutput("Es ist 8 oder 9.", "eos", 4, 3, False)] * 3, 0.0, 0.0)
        done = await with_further_passes(batching, translator, planned, first, Due.within(10), planner)
        batching.close()
        planner.close()
        assert [len(batch) for batch in echo.batches] == [1, 1]
        return done

    done = asyncio.run(scenario())

    assert len(done.outputs) == 3 and len({output.text for output in done.outputs}) == 1
    assert "7" in done.outputs[0].text
