"""Short requests that arrive as a Poisson process, beside clients that send long documents one after the other.

Meanwhile one client streams answers of greedy search: gaps between their tokens show the steps of rows in flight.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import pairwise

from benchmarks.loads.load import WARMUP_SHARE, Client, Figures, Outcome, Send, figures, percentile_ms, poisson, session

# Arrivals of short requests. Few, since their latency is measured and not the capacity.
SHORTS_A_SECOND = 8.0
# Length of a document: more than the input limit of a model.
DOCUMENT_CHARACTERS = 6000


@dataclass(frozen=True)
class MixFigures(Figures):
    """Figures of the short requests, and of what runs beside them.

    `gaps_ms` are the p50, p95 and longest time between two arrivals of tokens of the stream. Tokens that arrive
    together count as one arrival.
    """

    documents_per_second: float = 0.0
    gaps_ms: tuple[float | None, ...] = ()


def measure_mix(client: Client, documents: int, seconds: float) -> MixFigures:
    """Measures the short ones of the client's requests while as many clients as `documents` send long texts."""
    short, long = client.requests[::2], client.requests[1::2]
    # Repeated often enough for the length of a document.
    document = replace(long[0], text=" ".join([each.text for each in long] * 100)[:DOCUMENT_CHARACTERS])
    answered_documents = 0
    gaps: list[float] = []

    async def send_documents(send: Send) -> None:
        nonlocal answered_documents
        while await send(document):
            answered_documents += 1

    async def stream() -> None:
        body = {**long[0].body, "num_beams": 1, "stream": True}
        if "translate" in client.path:
            # A protected translation is sent sentence by sentence, and not token by token.
            body["protect"] = False
        # With speculative decoding, several tokens arrive together.
        path = f"{client.path}&speculate=false"
        async with session(client.port) as connections:
            while True:
                async with connections.post(path, json=body, raise_for_status=True) as found:
                    chunks = found.content.iter_any()
                    times = [time.perf_counter() async for chunk in chunks if b"event: token" in chunk]
                gaps.extend(later - earlier for earlier, later in pairwise(times))

    async def load(send: Send) -> list[Outcome]:
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(each) for each in (stream(), *(send_documents(send) for _ in range(documents)))]
            await asyncio.sleep(seconds * WARMUP_SHARE)
            outcomes = await poisson(send, short, SHORTS_A_SECOND, seconds)
            for task in others:
                task.cancel()
        return outcomes

    of_shorts = figures(client.run(load), seconds)
    documents_per_second = answered_documents / (seconds * (1 + WARMUP_SHARE))
    gaps_ms = tuple(percentile_ms(gaps, each) for each in (50, 95, 100))
    return MixFigures(**vars(of_shorts), documents_per_second=documents_per_second, gaps_ms=gaps_ms)
