"""What tests of batching and of scheduling both do: submit rows, wait for something, read texts."""

import asyncio
import time
from collections.abc import Callable, Coroutine

from slimseq.app.serving.batching.request import Generated, QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.models_store.manifest import GenerationOptions
from tests.app.serving.generators import rows


def submit(
    worker: RequestQueue, *lengths: int, options: GenerationOptions | None = None, seconds: float = 10
) -> QueuedRequest:
    """Queues a row of each length, four tokens each where no options are given."""
    return worker.submit(
        rows(*lengths), options or GenerationOptions(max_new_tokens=4), deadline=time.monotonic() + seconds
    )


def texts(generated: Generated) -> list[str]:
    """Returns the outputs' texts in order."""
    return [output.text for output in generated.outputs]


async def until(is_so: Callable[[], bool]) -> None:
    """Waits, but not for ever."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.002)


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    """Runs a scenario, which fails where it hangs."""
    asyncio.run(asyncio.wait_for(scenario(), 20))
