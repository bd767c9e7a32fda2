import asyncio

import pytest

from slimseq.app.errors import Overloaded
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.batching.static import StaticBatching
from tests.app.serving.generators import EchoGenerator
from tests.app.serving.working import submit

pytestmark = pytest.mark.anyio

# Of a row of the tests: its input, and the four output tokens of its options.
TOKENS_OF_5 = 5 + 4


async def test_tokens_are_pending_until_their_request_ends_however_it_ends() -> None:
    generator = EchoGenerator(is_open=False)
    batching = StaticBatching(generator, "translation/test", WorkLimits(wait_seconds=0, queue_rows=2))
    running = submit(batching, 5, 5)
    await asyncio.to_thread(generator.has_started.wait, 10)
    given_up = submit(batching, 5)
    both = batching.pending_tokens
    with pytest.raises(Overloaded):
        submit(batching, 5, 5)
    refused = batching.pending_tokens

    batching.abandon(given_up)
    # As a stream does, which ends and is closed.
    batching.abandon(given_up)
    after = batching.pending_tokens
    generator.gate.set()
    await batching.wait(running)

    assert (both, refused, after, batching.pending_tokens) == (3 * TOKENS_OF_5, 3 * TOKENS_OF_5, 2 * TOKENS_OF_5, 0)
    batching.close()
