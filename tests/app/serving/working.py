"""What tests of static and of continuous batching do: submit rows, wait for something, read texts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from slimseq.app.serving.batching.request import Due, Generated, Listener, Priority, QueuedRequest
from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.inference.generator import TextOutput
from slimseq.models_store.generation import GenerationOptions
from tests.app.serving.generators import rows


@dataclass
class Heard:
    """A listener that remembers `(row, token)` and `(row, text)`, in the order in which they came."""

    events: list[tuple[int, int | str]] = field(default_factory=list)

    @property
    def tokens(self) -> list[tuple[int, int]]:
        return [(row, what) for row, what in self.events if isinstance(what, int)]

    def on_token(self, row: int, token: int) -> None:
        self.events.append((row, token))

    def on_row(self, row: int, output: TextOutput) -> None:
        self.events.append((row, output.text))


def submit(
    worker: RequestQueue,
    *lengths: int,
    options: GenerationOptions | None = None,
    seconds: float = 10,
    listener: Listener | None = None,
    priority: Priority = "normal",
) -> QueuedRequest:
    """Queues a request with a row of each length. Without options, each row may have four new tokens."""
    options = options or GenerationOptions(max_new_tokens=4)
    return worker.submit(QueuedRequest(rows(*lengths), options, Due.within(seconds, priority), listener))


def texts(generated: Generated) -> list[str]:
    """Returns the outputs' texts in order."""
    return [output.text for output in generated.outputs]


async def until(is_so: Callable[[], bool]) -> None:
    """Waits until a condition holds, for at most ten seconds."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.002)
