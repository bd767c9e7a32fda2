"""Continuous batching: rows join and leave at every step, and have the texts of the model."""

import asyncio

import pytest

from slimseq.app.serving.batching.continuous import ContinuousBatching
from slimseq.app.serving.batching.request import QueuedRequest
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.terms import Due
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.batching.stepping import BEAMS, scheduling, steps
from tests.app.serving.generators import SteppingGenerator
from tests.app.serving.working import Heard, submit, texts, until

pytestmark = pytest.mark.anyio


async def test_outputs_come_in_the_order_of_the_rows() -> None:
    with scheduling(SteppingGenerator()) as scheduler:
        generated = await scheduler.wait(submit(scheduler, 3, 9, 1))

        assert texts(generated) == ["3", "9", "1"]
        assert generated.queue_seconds >= 0 and generated.inference_seconds > 0


async def test_a_row_joins_those_in_flight_at_the_next_step_whatever_its_options() -> None:
    generator = SteppingGenerator(is_open=False)
    with scheduling(generator) as scheduler:
        long = submit(scheduler, 9)
        await until(generator.has_stepped.is_set)
        short = submit(scheduler, 2, options=BEAMS)
        await steps(generator, 3)

        assert texts(await scheduler.wait(short)) == ["2"]
        generator.open()
        assert texts(await scheduler.wait(long)) == ["9"]
    assert generator.steps == [[9], [2, 9], [2, 9], *[[9]] * 6]


async def test_a_listener_hears_tokens_as_they_come_and_then_the_row() -> None:
    heard = Heard()

    with scheduling(SteppingGenerator()) as scheduler:
        await scheduler.wait(submit(scheduler, 2, 1, listener=heard))
    assert heard.events == [(0, 2), (1, 1), (1, "1"), (0, 2), (0, "2")]


async def test_requests_that_come_and_go_get_the_texts_of_the_model(embedded: Store) -> None:
    sentences = ["The sun is shining.", "A dog runs across the street.", "We need more time.", "He reads a long book."]

    with open_generator(embedded, Task.TRANSLATION, "original", "onnxruntime") as generator:
        options = [generator.manifest.generation.options(num_beams=beams, max_new_tokens=24) for beams in (1, 4)]
        encodings = [generator.encode(sentence) for sentence in sentences]
        wanted = [[output.text for output in generator.generate(encodings, each)] for each in options]
        scheduler = ContinuousBatching(generator, "translation/original")
        waits = []
        for encoding in encodings:
            for each in options:
                waits.append(scheduler.wait(scheduler.submit(QueuedRequest([encoding], each, Due.within(30)))))
                await asyncio.sleep(0.003)
        found = [texts(generated)[0] for generated in await asyncio.gather(*waits)]
        scheduler.close()

        assert [found[0::2], found[1::2]] == wanted


async def test_a_stop_ends_a_row_where_it_comes(embedded: Store) -> None:
    with open_generator(embedded, Task.TRANSLATION, "original", "onnxruntime") as generator:
        encoding = generator.encode("The children are playing in the garden.")
        scheduler = ContinuousBatching(generator, "translation/original")
        found = {}
        for beams in (1, 4):
            options = generator.manifest.generation.options(num_beams=beams)
            for stops in ((), (" im ", "never"), ("spielen im Garten.",)):
                request = scheduler.submit(QueuedRequest([encoding], options, Due.within(30), stops=stops))
                [found[beams, stops]] = (await scheduler.wait(request)).outputs
        scheduler.close()

    whole = found[1, ()]
    assert whole.text == "Die Kinder spielen im Garten."
    for beams in (1, 4):
        assert (found[beams, (" im ", "never")].text, found[beams, (" im ", "never")].finish_reason) == (
            "Die Kinder spielen",
            "stop",
        )
        assert found[beams, ("spielen im Garten.",)].text == "Die Kinder"
    assert found[1, (" im ", "never")].output_tokens < whole.output_tokens


async def test_two_engines_share_what_waits(embedded: Store) -> None:
    generator = SteppingGenerator(is_open=False)
    scheduler = ContinuousBatching(generator, "translation/test", WorkLimits(), workers=2)
    try:
        request = submit(scheduler, 3, 4, 5, 6)
        await until(lambda: len(generator.steps) == 2)
        generator.open()

        assert texts(await scheduler.wait(request)) == ["3", "4", "5", "6"]
        assert [len(step) for step in generator.steps[:2]] == [2, 2]
    finally:
        generator.open()
        scheduler.close()


async def test_many_at_a_time_on_two_engines_get_the_texts_of_the_model(embedded: Store) -> None:
    with open_generator(embedded, Task.TRANSLATION, "original", "onnxruntime", threads=1) as generator:
        options = generator.manifest.generation.options(num_beams=2, max_new_tokens=24)
        encodings = [generator.encode(f"There are {number} birds in the tree.") for number in range(24)]
        wanted = [output.text for output in generator.generate(encodings, options)]
        scheduler = ContinuousBatching(generator, "translation/original", workers=2)
        waits = [scheduler.wait(scheduler.submit(QueuedRequest([each], options, Due.within(60)))) for each in encodings]
        found = [texts(generated)[0] for generated in await asyncio.gather(*waits)]
        scheduler.close()

        assert found == wanted
