"""Short requests that arrive as a Poisson process, beside clients that send long documents one after the other.

Meanwhile one client streams answers of greedy search: gaps between their tokens show the steps of rows in flight.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import cycle, islice, pairwise

import numpy as np

from benchmarks.command import MILLISECONDS, BenchmarkFailed
from benchmarks.loads.load import WARMUP_SHARE, Client, Figures, Outcome, Send, figures, poisson, session

# Few, since their latency is measured and not the capacity.
SHORTS_A_SECOND = 8.0
# Texts have fewer characters a token, so that a document reaches the model's input limit.
CHARACTERS_A_TOKEN = 8


@dataclass(frozen=True)
class MixFigures(Figures):
    """Figures of the short requests; `p95_gaps` and `most_gaps` are in units of the median gap between tokens."""

    documents_per_second: float = 0.0
    gap_ms: float = 0.0
    p95_gaps: float = 0.0
    most_gaps: float = 0.0


def measure_mix(client: Client, documents: int, seconds: float, max_input_tokens: int) -> MixFigures:
    """Measures the short ones of the client's requests while as many clients as `documents` send long texts."""
    short, long = client.requests[::2], client.requests[1::2]
    size = CHARACTERS_A_TOKEN * max_input_tokens
    document = replace(long[0], text=" ".join(each.text for each in islice(cycle(long), size))[:size])
    answered, gaps = [0], list[float]()

    async def send_documents(send: Send) -> None:
        while await send(document):
            answered[0] += 1

    async def stream() -> None:
        # A translation that is protected has its text once a sentence is complete.
        own = {"protect": False} if "translate" in client.path else {}
        path, body = f"{client.path}&speculate=false", {**long[0].body, **own, "num_beams": 1, "stream": True}
        async with session(client.port) as connections:
            while True:
                async with connections.post(path, json=body, raise_for_status=True) as found:
                    chunks = found.content.iter_any()
                    times = [time.perf_counter() async for chunk in chunks if b"event: token" in chunk]
                gaps.extend(later - earlier for earlier, later in pairwise(times))

    async def load(send: Send) -> list[Outcome]:
        others = [asyncio.create_task(each) for each in (stream(), *(send_documents(send) for _ in range(documents)))]
        await asyncio.sleep(seconds * WARMUP_SHARE)
        outcomes = await poisson(send, short, SHORTS_A_SECOND, seconds)
        for task in others:
            # One that has ended has failed.
            task.result() if task.done() else task.cancel()
        return outcomes

    found = figures(client.run(load), seconds)
    if not gaps:
        raise BenchmarkFailed("no tokens were streamed")
    gap, p95, most = (float(each) * MILLISECONDS for each in np.percentile(gaps, (50, 95, 100)))
    per_second = answered[0] / seconds / (1 + WARMUP_SHARE)
    return MixFigures(
        **vars(found), documents_per_second=per_second, gap_ms=gap, p95_gaps=p95 / gap, most_gaps=most / gap
    )
