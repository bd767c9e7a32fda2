"""Further passes of rows: where the work on their texts runs, and how many rows are generated for equal sentences."""

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
        pytest.param(Prompt(["It is 7."]), "MainThread", id="short"),
        pytest.param(Prompt([f"It is 7, {'and the house is big, ' * 500}"]), "planner usual_0", id="truncated"),
        pytest.param(
            Prompt([f"It is {'**very** ' * 60} late."], format="markdown"), "planner usual_0", id="much markup"
        ),
    ],
)
async def test_further_passes_of_long_sentences_are_planned_on_a_thread(
    translator: TextGenerator, planner: Planner, batching: StaticBatching, prompt: Prompt, thread: str
) -> None:
    output = TextOutput("Es ist 7.", "eos", 4, 3, False)
    threads: list[str] = []

    class RecordsThreads(Passes):
        """Two passes that keep the thread on which they receive outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.inputs = ["It is 7."]

        def _take(self, outputs: Sequence[TextOutput]) -> None:
            threads.append(threading.current_thread().name)
            if len(threads) == 2:
                self._finish(output)

    planned = plan(translator, prompt, max_rows=4096)
    planned.passes[0] = RecordsThreads()
    passes = RowPasses(translator, planned)
    await run_passes(passes, batching, [(0, output)], Due.within(60), planner)

    assert passes.outputs[0] == output
    assert threads == [thread, thread]


async def test_equal_sentences_share_further_passes_within_a_group_of_sentences(
    translator: TextGenerator, planner: Planner, echo: EchoGenerator, batching: StaticBatching, monkeypatch: Any
) -> None:
    monkeypatch.setattr("slimseq.app.generate.planner.ROWS_TOGETHER", 2)
    planned = plan(translator, Prompt(["It is 7."] * 3, format="markdown"), max_rows=4096)
    first = enumerate([TextOutput("Es ist 8 oder 9.", "eos", 4, 3, False)] * 3)
    passes = RowPasses(translator, planned)

    await run_passes(passes, batching, first, Due.within(10), planner)

    outputs = passes.in_order
    # Two further passes of the first two sentences, then two of the third one. Equal rows of a pass are generated once.
    assert [len(batch) for batch in echo.batches] == [1, 1, 1, 1]
    assert len(outputs) == 3
    assert len({output.text for output in outputs}) == 1
    assert "7" in outputs[0].text


@pytest.mark.parametrize(
    ("is_sampled", "sentences_with_passes"), [pytest.param(False, 1, id="greedy"), pytest.param(True, 3, id="sampled")]
)
async def test_equal_sentences_of_a_stream_share_their_further_passes_unless_they_are_sampled(
    translator: TextGenerator,
    planner: Planner,
    echo: EchoGenerator,
    batching: StaticBatching,
    is_sampled: bool,
    sentences_with_passes: int,
) -> None:
    prompt = Prompt(["Mail a@b.org. Mail a@b.org.", "Mail a@b.org."], options={"do_sample": is_sampled, "num_beams": 1})
    planned, due = plan(translator, prompt, max_rows=4096), Due.within(10)
    answered: list[Generated] = []

    async def answer(generated: Generated) -> GenerationResponse:
        answered.append(generated)
        return cast(GenerationResponse, {})

    # The outputs of `EchoGenerator` are the lengths of rows, so that all spans are missing and all passes are needed.
    stream = EventStream(batching, translator, planned, due, planner)
    request = batching.submit(QueuedRequest(planned.rows, planned.options, due, stream))
    events = [event.decode() async for event in stream.events(request, answer, lambda error: None)]

    # Three first passes, and two further ones of each sentence that has its own.
    assert sum(map(len, echo.batches)) == 3 + 2 * sentences_with_passes
    pieces = [json.loads(event.split("data: ")[1]) for event in events[:-1]]
    addresses_of_texts = Counter[int]()
    for piece in pieces:
        addresses_of_texts[piece["index"]] += piece["text"].count("a@b.org")
    assert addresses_of_texts == {0: 2, 1: 1}
    assert "event: done" in events[-1]
    assert all("a@b.org" in output.text for output in answered[0].outputs)
