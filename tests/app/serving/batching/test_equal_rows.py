"""Equal rows of a document, such as cells of a table with the same word: they are generated once."""

import asyncio
from typing import Any

import pytest

from slimseq.app.serving.batching.request import Generated, QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue, WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.app.serving.terms import Due
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import GenerationOptions
from tests.app.serving.batching.test_continuous import SHORT, scheduling
from tests.app.serving.generators import EchoGenerator, SteppingGenerator
from tests.app.serving.working import Heard, texts

pytestmark = pytest.mark.anyio

SAME = Encoding([7, 7, 7], 3)
OTHER = Encoding([8, 8], 2)
ROWS = [SAME, OTHER, SAME, SAME]


def queued(
    worker: RequestQueue, rows: list[Encoding], options: GenerationOptions = SHORT, **others: Any
) -> QueuedRequest:
    return worker.submit(QueuedRequest(rows, options, Due.within(10), has_equal_rows=True, **others))


async def test_equal_rows_are_generated_once_and_each_has_its_output() -> None:
    generator = EchoGenerator()
    batching = StaticBatching(generator, "translation/test", WorkLimits(wait_seconds=0))

    answer = await batching.wait(queued(batching, ROWS))

    assert texts(answer) == ["3", "2", "3", "3"]
    assert generator.batches == [[3, 2]]
    assert batching.pending_tokens == 0
    batching.close()


async def test_a_stream_hears_of_each_of_the_equal_rows() -> None:
    generator, heard = SteppingGenerator(), Heard()
    with scheduling(generator) as scheduler:
        answer = await scheduler.wait(queued(scheduler, ROWS, listener=heard))

    assert [length for length, _ in generator.added] == [3, 2]
    assert texts(answer) == ["3", "2", "3", "3"]
    ended = [(row, what) for row, what in heard.events if isinstance(what, str)]
    assert ended == [(1, "2"), (0, "3"), (2, "3"), (3, "3")]


async def test_rows_that_are_sampled_are_each_generated() -> None:
    generator = EchoGenerator()
    batching = StaticBatching(generator, "translation/test", WorkLimits(wait_seconds=0))
    sampled = GenerationOptions(max_new_tokens=4, do_sample=True)

    await batching.wait(queued(batching, ROWS, sampled))

    assert generator.batches == [[3, 3, 3, 2]]
    batching.close()


def test_rows_that_differ_in_what_was_cut_off_or_in_stop_strings_are_not_equal() -> None:
    async def scenario() -> Generated:
        batching = StaticBatching(EchoGenerator(), "translation/test", WorkLimits(wait_seconds=0))
        rows = [SAME, Encoding(SAME.ids, 9), SAME]
        try:
            return await batching.wait(
                batching.submit(
                    QueuedRequest(rows, SHORT, Due.within(10), stops=["3"], unstopped={2}, has_equal_rows=True)
                )
            )
        finally:
            batching.close()

    answer = asyncio.run(scenario())

    assert [output.truncated for output in answer.outputs] == [False, True, False]
    assert texts(answer) == ["", "", "3"]
