import json
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import pytest

from slimseq.app.generate.events import EventStream
from slimseq.app.generate.planner import Planner, run_passes
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.serving.batching.request import Due, Generated, QueuedRequest
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.passes import Passes
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Prompt, RowPasses
from tests.app.serving.generators import EchoGenerator

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("prompt", "thread"),
    [
        (Prompt(["It is 7."]), "MainThread"),
        (Prompt([f"It is 7, {'and the house is big, ' * 500}"]), "planner usual_0"),
        (Prompt([f"It is {'**very** ' * 60} late."], format="markdown"), "planner usual_0"),
    ],
)
async def test_a_sentence_of_any_length_is_masked_again_on_a_thread(
    translator: TextGenerator, planner: Planner, batching: StaticBatching, prompt: Prompt, thread: str
) -> None:
    found = TextOutput("Es ist 7.", "eos", 4, 3, False)
    threads: list[str] = []

    class Noted(Passes):
        def __init__(self) -> None:
            super().__init__()
            self.inputs = ["It is 7."]

        def _take(self, outputs: Sequence[TextOutput]) -> None:
            threads.append(threading.current_thread().name)
            if len(threads) == 2:
                self._finish(found)

    planned = plan(translator, prompt, max_rows=4096)
    planned.passes[0] = Noted()
    passes = RowPasses(translator, planned)
    await run_passes(passes, batching, [(0, found)], Due.within(60), planner)

    assert passes.outputs[0] == found
    assert threads == [thread, thread]


async def test_the_further_passes_of_equal_sentences_are_generated_once_two_sentences_at_a_time(
    translator: TextGenerator, planner: Planner, echo: EchoGenerator, batching: StaticBatching, monkeypatch: Any
) -> None:
    monkeypatch.setattr("slimseq.app.generate.planner.ROWS_TOGETHER", 2)
    planned = plan(translator, Prompt(["It is 7."] * 3, format="markdown"), max_rows=4096)
    first = enumerate([TextOutput("Es ist 8 oder 9.", "eos", 4, 3, False)] * 3)
    passes = RowPasses(translator, planned)

    await run_passes(passes, batching, first, Due.within(10), planner)

    outputs = passes.in_order
    assert [len(batch) for batch in echo.batches] == [1, 1, 1, 1]
    assert len(outputs) == 3 and len({output.text for output in outputs}) == 1
    assert "7" in outputs[0].text


@pytest.mark.parametrize(("is_sampled", "generated"), [(False, 1), (True, 3)])
async def test_equal_sentences_of_a_stream_share_their_further_passes(
    translator: TextGenerator,
    planner: Planner,
    echo: EchoGenerator,
    batching: StaticBatching,
    is_sampled: bool,
    generated: int,
) -> None:
    prompt = Prompt(["Mail a@b.org. Mail a@b.org.", "Mail a@b.org."], options={"do_sample": is_sampled, "num_beams": 1})
    planned, due = plan(translator, prompt, max_rows=4096), Due.within(10)
    answered: list[Generated] = []

    async def answer(generated: Generated) -> GenerationResponse:
        answered.append(generated)
        return cast(GenerationResponse, {})

    # Its texts are the lengths of rows, so that all spans are wrong.
    stream = EventStream(batching, translator, planned, due, planner)
    request = batching.submit(QueuedRequest(planned.rows, planned.options, due, stream))
    events = [event.decode() async for event in stream.events(request, answer, lambda error: None)]

    pieces = [json.loads(event.split("data: ")[1]) for event in events[:-1]]
    texts = Counter[int]()
    for piece in pieces:
        texts[piece["index"]] += piece["text"].count("a@b.org")
    assert sum(map(len, echo.batches)) == 3 + 2 * generated
    assert texts == {0: 2, 1: 1} and "event: done" in events[-1]
    assert all("a@b.org" in output.text for output in answered[0].outputs)
