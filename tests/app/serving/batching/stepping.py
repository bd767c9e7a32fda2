"""Continuous batching of a generator whose steps a test allows, one by one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from slimseq.app.serving.batching.continuous import ContinuousBatching
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.models_store.generation import GenerationOptions
from tests.app.serving.generators import SteppingGenerator
from tests.app.serving.working import until

SHORT = GenerationOptions(max_new_tokens=4)


BEAMS = GenerationOptions(num_beams=4, max_new_tokens=4)


@contextmanager
def scheduling(generator: SteppingGenerator, **limits: Any) -> Iterator[ContinuousBatching]:
    scheduler = ContinuousBatching(generator, "translation/test", WorkLimits(**limits))
    try:
        yield scheduler
    finally:
        generator.open()
        scheduler.close()


async def steps(generator: SteppingGenerator, count: int) -> None:
    """Lets so many steps run, and waits for the one behind them to begin."""
    before = len(generator.steps)
    generator.permits.release(count)
    await until(lambda: len(generator.steps) >= before + count)
