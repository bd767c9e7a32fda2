import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import cast

import pytest

from slimseq.app.generate.events import EventStream
from slimseq.app.generate.planner import Planner
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.serving.batching.request import Generated, QueuedRequest
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.app.serving.terms import Due
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.plan import Prompt, plan
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.generators import EchoGenerator


@pytest.fixture(scope="module")
def translator(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.TRANSLATION, "quantized") as generator:
        yield generator


@pytest.mark.parametrize(("is_sampled", "generated"), [(False, 1), (True, 3)])
def test_equal_sentences_of_a_stream_share_their_further_passes(
    translator: TextGenerator, is_sampled: bool, generated: int
) -> None:
    prompt = Prompt(["Mail a@b.org. Mail a@b.org.", "Mail a@b.org."], options={"do_sample": is_sampled, "num_beams": 1})
    planned = plan(translator, prompt, max_rows=4096)
    answered: list[Generated] = []

    async def answer(generated: Generated) -> GenerationResponse:
        answered.append(generated)
        return cast(GenerationResponse, {})

    async def scenario() -> list[str]:
        planner = Planner()
        due = Due.within(10)
        # Its texts are the lengths of rows, so that all spans are wrong.
        echo = EchoGenerator()
        batching = StaticBatching(echo, "translation/test", WorkLimits(wait_seconds=0))
        stream = EventStream(batching, translator, planned, due, planner)
        request = batching.submit(QueuedRequest(planned.rows, planned.options, due, stream))
        events = [event.decode() async for event in stream.events(request, answer, lambda error: None)]
        batching.close()
        planner.close()
        assert sum(map(len, echo.batches)) == 3 + 2 * generated
        return events

    events = asyncio.run(scenario())

    pieces = [json.loads(event.split("data: ")[1]) for event in events[:-1]]
    texts = Counter[int]()
    for piece in pieces:
        texts[piece["index"]] += piece["text"].count("a@b.org")
    assert texts == {0: 2, 1: 1} and "event: done" in events[-1]
    assert all("a@b.org" in output.text for output in answered[0].outputs)
