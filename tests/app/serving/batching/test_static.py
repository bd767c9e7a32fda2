"""Static batching: which rows share a batch, in which order, and what a failing row means for the others."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slimseq.app.errors import DeadlineExceeded, GenerationFailed, InvalidRequest, Overloaded, ShuttingDown
from slimseq.app.serving.batching.request import Due, QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue, WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import GenerationOptions
from tests.app.serving.batching.test_continuous import SHORT, scheduling
from tests.app.serving.generators import EchoGenerator, SteppingGenerator, rows
from tests.app.serving.working import Heard, submit, texts, until

pytestmark = pytest.mark.anyio

GREEDY = GenerationOptions()
BEAMS = GenerationOptions(num_beams=4)


@contextmanager
def batching(generator: EchoGenerator, workers: int = 1, **limits: Any) -> Iterator[StaticBatching]:
    batcher = StaticBatching(generator, "translation/test", WorkLimits(**limits), workers)
    try:
        yield batcher
    finally:
        batcher.close()


async def test_requests_that_arrive_together_share_a_batch() -> None:
    generator = EchoGenerator(is_open=False)
    with batching(generator) as batcher:
        first = submit(batcher, 1)
        await until(generator.has_started.is_set)
        later = [submit(batcher, length) for length in (2, 3, 4)]
        generator.gate.set()

        answers = [texts(await batcher.wait(each)) for each in (first, *later)]

    assert answers == [["1"], ["2"], ["3"], ["4"]]
    assert generator.batches == [[1], [2, 3, 4]]


async def test_without_steps_the_first_token_is_the_first_that_is_there_and_none_has_a_time_of_its_own() -> None:
    generator = EchoGenerator(is_open=False)
    with batching(generator) as batcher:
        request = submit(batcher, 1)
        await asyncio.sleep(0.05)
        generator.gate.set()
        generated = await batcher.wait(request)

    assert generated.token_seconds is None and generated.first_token_seconds is not None
    assert 0.05 <= generated.first_token_seconds <= generated.queue_seconds + generated.inference_seconds


async def test_idle_workers_divide_what_waits() -> None:
    generator = EchoGenerator(is_open=False)
    with batching(generator, workers=2) as batcher:
        request = submit(batcher, 5, 4, 3, 2)
        await until(lambda: len(generator.batches) == 2)
        further = submit(batcher, 9, 8)
        generator.gate.set()

        assert texts(await batcher.wait(request)) == ["5", "4", "3", "2"]
        assert texts(await batcher.wait(further)) == ["9", "8"]
    assert sorted(generator.batches[:2]) == [[3, 2], [5, 4]]


async def test_different_options_never_share_a_batch() -> None:
    generator = EchoGenerator()
    with batching(generator) as batcher:
        both = submit(batcher, 1), submit(batcher, 2, options=BEAMS)
        await asyncio.gather(*map(batcher.wait, both))

    assert generator.batches == [[1], [2]]


async def test_a_stream_with_beams_begins_with_one_row_and_doubles() -> None:
    generator, heard = EchoGenerator(), Heard()
    with batching(generator) as batcher:
        await batcher.wait(submit(batcher, *range(1, 10), options=BEAMS, listener=heard))
        await batcher.wait(submit(batcher, 3, 2, options=GREEDY, listener=heard))

    assert generator.batches == [[1], [2], [3, 4], [5, 6, 7, 8], [9], [3, 2]]


async def test_beams_count_against_the_size_of_a_batch() -> None:
    generator = EchoGenerator()
    with batching(generator, max_rows=8) as batcher:
        await batcher.wait(submit(batcher, 5, 4, 3, 2, 1, options=BEAMS))

    assert generator.batches == [[5, 4], [3, 2], [1]]


async def test_rows_of_like_length_share_a_batch() -> None:
    generator = EchoGenerator()
    with batching(generator, max_rows=2) as batcher:
        generated = await batcher.wait(submit(batcher, 1, 9, 2, 8))

    assert generator.batches == [[9, 8], [2, 1]]
    assert texts(generated) == ["1", "9", "2", "8"]


async def test_a_full_queue_refuses_and_says_when_to_come_back_and_further_passes_take_no_place_in_it() -> None:
    generator = EchoGenerator(is_open=False)
    with batching(generator, queue_rows=3) as batcher:
        running = submit(batcher, 1)
        await until(generator.has_started.is_set)
        further = QueuedRequest(rows(6, 7, 8, 9), GenerationOptions(), Due.within(10), is_admitted=True)
        batcher.submit(further)
        waiting = submit(batcher, 2, 3)

        with pytest.raises(Overloaded) as refused:
            submit(batcher, 4, 5)
        with pytest.raises(InvalidRequest, match="at most 3"):
            submit(batcher, 4, 5, 6, 7)

        assert int(refused.value.headers["Retry-After"]) >= 1
        assert batcher.queued_rows == 6
        generator.gate.set()
        await asyncio.gather(*map(batcher.wait, (running, waiting, further)))
        assert texts(await batcher.wait(submit(batcher, 4, 5))) == ["4", "5"]


async def test_a_request_past_its_deadline_is_dropped_from_the_queue() -> None:
    generator = EchoGenerator(is_open=False)
    with batching(generator) as batcher:
        running = submit(batcher, 1)
        await until(generator.has_started.is_set)

        with pytest.raises(DeadlineExceeded, match="deadline of"):
            await batcher.wait(submit(batcher, 2, 3, seconds=0.05))

        assert batcher.queued_rows == 0
        generator.gate.set()
        await batcher.wait(running)
    assert generator.batches == [[1]]


async def test_a_running_batch_that_nobody_waits_for_is_cancelled_and_the_worker_goes_on() -> None:
    generator = EchoGenerator(is_open=False)
    with batching(generator) as batcher:
        waiting = asyncio.create_task(batcher.wait(submit(batcher, 1)))
        await until(generator.has_started.is_set)
        waiting.cancel()
        await until(lambda: generator.was_cancelled)

        generator.gate.set()
        assert texts(await batcher.wait(submit(batcher, 2))) == ["2"]


async def test_a_batch_goes_on_while_anybody_waits_for_it() -> None:
    generator = EchoGenerator(is_open=False)
    with batching(generator) as batcher:
        with batcher._changed:
            # Both are there when the worker looks.
            leaving = asyncio.create_task(batcher.wait(submit(batcher, 1)))
            staying = asyncio.create_task(batcher.wait(submit(batcher, 2)))
        await until(generator.has_started.is_set)
        leaving.cancel()
        await asyncio.sleep(0.05)
        generator.gate.set()

        assert texts(await staying) == ["2"] and not generator.was_cancelled


async def test_a_row_that_breaks_a_batch_fails_alone() -> None:
    generator, heard = EchoGenerator(is_open=False), Heard()
    generator.bad_length = 7
    with batching(generator) as batcher:
        first = submit(batcher, 1)
        await until(generator.has_started.is_set)
        good, bad = submit(batcher, 9, 5), submit(batcher, 7)
        streamed = batcher.submit(QueuedRequest(rows(6, 8), GenerationOptions(max_new_tokens=4), Due.within(10), heard))
        generator.gate.set()

        assert texts(await batcher.wait(good)) == ["9", "5"] and texts(await batcher.wait(first)) == ["1"]
        assert texts(await batcher.wait(streamed)) == ["6", "8"]
        with pytest.raises(GenerationFailed):
            await batcher.wait(bad)
    assert sorted(heard.tokens) == [(0, 6), (1, 8)]


async def test_what_was_drawn_without_a_seed_and_heard_is_not_drawn_again() -> None:
    generator = EchoGenerator(is_open=False)
    generator.bad_length = 7
    drawing = GenerationOptions(do_sample=True, max_new_tokens=4)
    with batching(generator) as batcher:
        first = submit(batcher, 1)
        await until(generator.has_started.is_set)
        heard = submit(batcher, 6, options=drawing, listener=Heard())
        bad = submit(batcher, 7, options=drawing)
        generator.gate.set()
        await batcher.wait(first)

        for each in (heard, bad):
            with pytest.raises(GenerationFailed):
                await batcher.wait(each)


async def test_closing_ends_what_runs_and_fails_what_waits() -> None:
    generator = EchoGenerator(is_open=False)
    with batching(generator) as batcher:
        running = asyncio.create_task(batcher.wait(submit(batcher, 1)))
        await until(generator.has_started.is_set)
        waiting = asyncio.create_task(batcher.wait(submit(batcher, 2)))
        await asyncio.sleep(0)
        await asyncio.to_thread(batcher.close)

        for each in (running, waiting):
            with pytest.raises(ShuttingDown):
                await each
        with pytest.raises(ShuttingDown):
            submit(batcher, 3)


async def test_a_listener_hears_tokens_then_complete_rows() -> None:
    heard = Heard()

    with batching(EchoGenerator(), max_rows=2) as batcher:
        await batcher.wait(submit(batcher, 5, 6, 7, options=GREEDY, listener=heard))
    assert heard.events == [(0, 5), (1, 6), (0, "5"), (1, "6"), (2, 7), (2, "7")]


SAME = Encoding([7, 7, 7], 3)
OTHER = Encoding([8, 8], 2)
ROWS = [SAME, OTHER, SAME, SAME]


def queued(
    worker: RequestQueue, rows: list[Encoding], options: GenerationOptions = SHORT, **others: Any
) -> QueuedRequest:
    return worker.submit(QueuedRequest(rows, options, Due.within(10), has_equal_rows=True, **others))


async def test_equal_rows_are_generated_once_and_each_has_its_output() -> None:
    generator = EchoGenerator()
    with batching(generator) as batcher:
        answer = await batcher.wait(queued(batcher, ROWS))

    assert texts(answer) == ["3", "2", "3", "3"]
    assert generator.batches == [[3, 2]]


async def test_a_stream_hears_of_each_of_the_equal_rows() -> None:
    generator, heard = SteppingGenerator(), Heard()
    with scheduling(generator) as scheduler:
        answer = await scheduler.wait(queued(scheduler, ROWS, listener=heard))

    assert [length for length, _ in generator.added] == [3, 2]
    assert texts(answer) == ["3", "2", "3", "3"]
    ended = [(row, what) for row, what in heard.events if isinstance(what, str)]
    assert ended == [(1, "2"), (0, "3"), (2, "3"), (3, "3")]


async def test_rows_that_are_sampled_are_each_generated() -> None:
    generator, sampled = EchoGenerator(), GenerationOptions(max_new_tokens=4, do_sample=True)
    with batching(generator) as batcher:
        await batcher.wait(queued(batcher, ROWS, sampled))

    assert generator.batches == [[3, 3, 3, 2]]


async def test_rows_that_differ_in_what_was_cut_off_or_in_stop_strings_are_not_equal() -> None:
    rows = [SAME, Encoding(SAME.ids, 9), SAME]
    with batching(EchoGenerator()) as batcher:
        answer = await batcher.wait(queued(batcher, rows, stops=["3"], unstopped={2}))

    assert [output.truncated for output in answer.outputs] == [False, True, False]
    assert texts(answer) == ["", "", "3"]
