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
from tests.app.serving.batching.test_continuous import continuous_batching
from tests.app.serving.generators import EchoGenerator, SteppingGenerator, rows
from tests.app.serving.working import Heard, submit, texts, until

pytestmark = pytest.mark.anyio

GREEDY = GenerationOptions()
BEAMS = GenerationOptions(num_beams=4)


@contextmanager
def static_batching(generator: EchoGenerator, workers: int = 1, **limits: Any) -> Iterator[StaticBatching]:
    queue = StaticBatching(generator, "translation/test", WorkLimits(**limits), workers)
    try:
        yield queue
    finally:
        queue.close()


async def test_requests_that_arrive_together_share_a_batch() -> None:
    generator = EchoGenerator(is_open=False)
    with static_batching(generator) as queue:
        first = submit(queue, 1)
        await until(generator.has_started.is_set)
        later = [submit(queue, length) for length in (2, 3, 4)]
        generator.gate.set()

        answers = [texts(await queue.wait(each)) for each in (first, *later)]

    assert answers == [["1"], ["2"], ["3"], ["4"]]
    assert generator.batches == [[1], [2, 3, 4]]


async def test_without_steps_the_time_to_the_first_token_is_known_and_the_time_of_each_token_is_not() -> None:
    generator = EchoGenerator(is_open=False)
    with static_batching(generator) as queue:
        request = submit(queue, 1)
        await asyncio.sleep(0.05)
        generator.gate.set()
        generated = await queue.wait(request)

    assert generated.token_seconds is None and generated.first_token_seconds is not None
    assert 0.05 <= generated.first_token_seconds <= generated.queue_seconds + generated.inference_seconds


async def test_idle_workers_divide_the_rows_that_wait() -> None:
    generator = EchoGenerator(is_open=False)
    with static_batching(generator, workers=2) as queue:
        request = submit(queue, 5, 4, 3, 2)
        await until(lambda: len(generator.batches) == 2)
        further = submit(queue, 9, 8)
        generator.gate.set()

        assert texts(await queue.wait(request)) == ["5", "4", "3", "2"]
        assert texts(await queue.wait(further)) == ["9", "8"]
    assert sorted(generator.batches[:2]) == [[3, 2], [5, 4]]


async def test_different_options_never_share_a_batch() -> None:
    generator = EchoGenerator()
    with static_batching(generator) as queue:
        both = submit(queue, 1), submit(queue, 2, options=BEAMS)
        await asyncio.gather(*map(queue.wait, both))

    assert generator.batches == [[1], [2]]


async def test_a_stream_with_beams_begins_with_one_row_and_doubles() -> None:
    generator, heard = EchoGenerator(), Heard()
    with static_batching(generator) as queue:
        await queue.wait(submit(queue, *range(1, 10), options=BEAMS, listener=heard))
        await queue.wait(submit(queue, 3, 2, options=GREEDY, listener=heard))

    assert generator.batches == [[1], [2], [3, 4], [5, 6, 7, 8], [9], [3, 2]]


async def test_beams_count_against_the_size_of_a_batch() -> None:
    generator = EchoGenerator()
    with static_batching(generator, max_rows=8) as queue:
        await queue.wait(submit(queue, 5, 4, 3, 2, 1, options=BEAMS))

    assert generator.batches == [[5, 4], [3, 2], [1]]


async def test_rows_of_similar_length_share_a_batch() -> None:
    generator = EchoGenerator()
    with static_batching(generator, max_rows=2) as queue:
        generated = await queue.wait(submit(queue, 1, 9, 2, 8))

    assert generator.batches == [[9, 8], [2, 1]]
    assert texts(generated) == ["1", "9", "2", "8"]


async def test_a_full_queue_refuses_requests_but_no_further_passes_and_says_when_to_retry() -> None:
    generator = EchoGenerator(is_open=False)
    with static_batching(generator, queue_rows=3) as queue:
        running = submit(queue, 1)
        await until(generator.has_started.is_set)
        further_pass = QueuedRequest(rows(6, 7, 8, 9), GenerationOptions(), Due.within(10), is_admitted=True)
        queue.submit(further_pass)
        # With these two rows, only one of three places is left: rows of further passes take none.
        waiting = submit(queue, 2, 3)

        with pytest.raises(Overloaded) as refused:
            submit(queue, 4, 5)
        with pytest.raises(InvalidRequest, match="at most 3"):
            submit(queue, 4, 5, 6, 7)

        assert int(refused.value.headers["Retry-After"]) >= 1
        assert queue.queued_rows == 6
        generator.gate.set()
        await asyncio.gather(*map(queue.wait, (running, waiting, further_pass)))
        assert texts(await queue.wait(submit(queue, 4, 5))) == ["4", "5"]


async def test_a_request_past_its_deadline_is_dropped_from_the_queue() -> None:
    generator = EchoGenerator(is_open=False)
    with static_batching(generator) as queue:
        running = submit(queue, 1)
        await until(generator.has_started.is_set)

        with pytest.raises(DeadlineExceeded, match="deadline of"):
            await queue.wait(submit(queue, 2, 3, seconds=0.05))

        assert queue.queued_rows == 0
        generator.gate.set()
        await queue.wait(running)
    assert generator.batches == [[1]]


async def test_a_running_batch_that_nobody_waits_for_is_cancelled_and_the_worker_goes_on() -> None:
    generator = EchoGenerator(is_open=False)
    with static_batching(generator) as queue:
        waiting = asyncio.create_task(queue.wait(submit(queue, 1)))
        await until(generator.has_started.is_set)
        waiting.cancel()
        await until(lambda: generator.was_cancelled)

        generator.gate.set()
        assert texts(await queue.wait(submit(queue, 2))) == ["2"]


async def test_a_batch_goes_on_while_anybody_waits_for_it() -> None:
    generator = EchoGenerator(is_open=False)
    with static_batching(generator) as queue:
        with queue._changed:
            # While the queue is locked, its worker waits. So it finds both requests at once.
            leaving = asyncio.create_task(queue.wait(submit(queue, 1)))
            staying = asyncio.create_task(queue.wait(submit(queue, 2)))
        await until(generator.has_started.is_set)
        leaving.cancel()
        await asyncio.sleep(0.05)
        generator.gate.set()

        assert texts(await staying) == ["2"] and not generator.was_cancelled


async def test_a_row_that_breaks_a_batch_fails_alone() -> None:
    generator, heard = EchoGenerator(is_open=False), Heard()
    generator.bad_length = 7
    with static_batching(generator) as queue:
        first = submit(queue, 1)
        await until(generator.has_started.is_set)
        good = submit(queue, 9, 5)
        bad = submit(queue, 7)
        streamed = queue.submit(QueuedRequest(rows(6, 8), GenerationOptions(max_new_tokens=4), Due.within(10), heard))
        generator.gate.set()

        assert texts(await queue.wait(good)) == ["9", "5"]
        assert texts(await queue.wait(first)) == ["1"]
        assert texts(await queue.wait(streamed)) == ["6", "8"]
        with pytest.raises(GenerationFailed):
            await queue.wait(bad)
    assert sorted(heard.tokens) == [(0, 6), (1, 8)]


async def test_a_row_that_samples_without_a_seed_and_was_streamed_does_not_run_again() -> None:
    generator = EchoGenerator(is_open=False)
    generator.bad_length = 7
    sampling = GenerationOptions(do_sample=True, max_new_tokens=4)
    with static_batching(generator) as queue:
        first = submit(queue, 1)
        await until(generator.has_started.is_set)
        streamed = submit(queue, 6, options=sampling, listener=Heard())
        bad = submit(queue, 7, options=sampling)
        generator.gate.set()
        await queue.wait(first)

        for each in (streamed, bad):
            with pytest.raises(GenerationFailed):
                await queue.wait(each)


async def test_closing_fails_the_requests_that_run_and_those_that_wait() -> None:
    generator = EchoGenerator(is_open=False)
    with static_batching(generator) as queue:
        running = asyncio.create_task(queue.wait(submit(queue, 1)))
        await until(generator.has_started.is_set)
        waiting = asyncio.create_task(queue.wait(submit(queue, 2)))
        await asyncio.sleep(0)
        await asyncio.to_thread(queue.close)

        for each in (running, waiting):
            with pytest.raises(ShuttingDown):
                await each
        with pytest.raises(ShuttingDown):
            submit(queue, 3)


async def test_a_listener_hears_tokens_then_complete_rows() -> None:
    heard = Heard()

    with static_batching(EchoGenerator(), max_rows=2) as queue:
        await queue.wait(submit(queue, 5, 6, 7, options=GREEDY, listener=heard))
    assert heard.events == [(0, 5), (1, 6), (0, "5"), (1, "6"), (2, 7), (2, "7")]


FOUR_TOKENS = GenerationOptions(max_new_tokens=4)
# Rows of length 3 that are equal, and one of length 2.
SAME = Encoding([7, 7, 7], 3)
OTHER = Encoding([8, 8], 2)
ROWS = [SAME, OTHER, SAME, SAME]


def submit_equal(
    queue: RequestQueue, rows: list[Encoding], options: GenerationOptions = FOUR_TOKENS, **others: Any
) -> QueuedRequest:
    """Queues a request in which equal rows are likely."""
    return queue.submit(QueuedRequest(rows, options, Due.within(10), has_equal_rows=True, **others))


async def test_equal_rows_are_generated_once_and_each_has_its_output() -> None:
    generator = EchoGenerator()
    with static_batching(generator) as queue:
        answer = await queue.wait(submit_equal(queue, ROWS))

    assert texts(answer) == ["3", "2", "3", "3"]
    assert generator.batches == [[3, 2]]


async def test_a_stream_hears_of_each_of_the_equal_rows() -> None:
    generator, heard = SteppingGenerator(), Heard()
    with continuous_batching(generator) as queue:
        answer = await queue.wait(submit_equal(queue, ROWS, listener=heard))

    assert [length for length, _ in generator.added] == [3, 2]
    assert texts(answer) == ["3", "2", "3", "3"]
    ended = [(row, what) for row, what in heard.events if isinstance(what, str)]
    assert ended == [(1, "2"), (0, "3"), (2, "3"), (3, "3")]


async def test_rows_that_are_sampled_are_each_generated() -> None:
    generator, sampled = EchoGenerator(), GenerationOptions(max_new_tokens=4, do_sample=True)
    with static_batching(generator) as queue:
        await queue.wait(submit_equal(queue, ROWS, sampled))

    assert generator.batches == [[3, 3, 3, 2]]


async def test_rows_that_differ_in_truncation_or_in_stop_strings_are_not_equal() -> None:
    # The second row was truncated from 9 tokens. No stop string ends the third one.
    rows = [SAME, Encoding(SAME.ids, 9), SAME]
    with static_batching(EchoGenerator()) as queue:
        answer = await queue.wait(submit_equal(queue, rows, stops=["3"], unstopped={2}))

    assert [output.truncated for output in answer.outputs] == [False, True, False]
    assert texts(answer) == ["", "", "3"]
