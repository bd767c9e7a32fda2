"""`python -m benchmarks.overload`: a crowd of clients against a short queue, beside as many as the service can serve.

Both loads are measured in turns on one service, because a machine's speed drifts. Clients honour `Retry-After`. Their
requests have a deadline. Every answer should be 200, 429 or 504, at most a second after the deadline, and the crowd
should get nearly as many answers a second as the few.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

import aiohttp

from benchmarks.command import (
    MILLISECONDS,
    BenchmarkFailed,
    Record,
    add_variant,
    measured_on,
    number,
    parser_of,
    record,
    run,
    table,
)
from benchmarks.loads.load import HOST, IDLE_SECONDS, MAX_CONNECTIONS, WARMUP_SHARE, Request, make_requests
from benchmarks.systems.servers import running, service
from slimseq.models_store.store import Store

EXPECTED = frozenset({"200", "429", "504"})
LATE_SECONDS = 1.0


@dataclass(frozen=True)
class Crowd:
    """What clients got.

    Args:
        clients: number of clients.
        statuses: number of answers of each status, and of errors of connections by their class.
        answers_per_second: number of answers with status 200 a second, after the warm-up.
        latest_seconds: the longest time between a deadline and its answer, negative if all came before.
    """

    clients: int
    statuses: dict[str, int]
    answers_per_second: float
    latest_seconds: float


async def crowd(
    port: int, path: str, requests: Sequence[Request], clients: int, seconds: float, deadline_seconds: float
) -> Crowd:
    """Lets clients send one request after the other for some seconds. After a 429 they wait as long as it says."""
    started, places = time.perf_counter(), count()
    begin, end = started + seconds * WARMUP_SHARE, started + seconds * (1 + WARMUP_SHARE)
    statuses, within, latest = Counter[str](), 0, -deadline_seconds
    headers = {"X-Request-Deadline-Ms": str(round(deadline_seconds * MILLISECONDS))}
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
    timeout = aiohttp.ClientTimeout(total=deadline_seconds + 60)

    async def client(connections: aiohttp.ClientSession) -> None:
        nonlocal within, latest
        while (sent := time.perf_counter()) < end:
            wait = 0.0
            try:
                body = requests[next(places) % len(requests)].body
                async with connections.post(path, json=body, headers=headers) as response:
                    await response.read()
                    status, wait = str(response.status), float(response.headers.get("Retry-After", 0))
            except (aiohttp.ClientError, TimeoutError) as error:
                status = type(error).__name__
            now = time.perf_counter()
            statuses[status] += 1
            latest = max(latest, now - sent - deadline_seconds)
            within += status == "200" and begin <= now < end
            await asyncio.sleep(min(wait, max(end - now, 0)))

    async with aiohttp.ClientSession(f"http://{HOST}:{port}", connector=connector, timeout=timeout) as connections:
        await asyncio.gather(*(client(connections) for _ in range(clients)))
    return Crowd(clients, dict(statuses), within / seconds, latest)


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Runs the service and both loads in turns.

    Raises:
        SlimseqError: there is no such variant; the service does not start, or answers nothing.
    """
    task, variant = given.variant
    store = Store(given.store)
    requests = make_requests(store.manifest(task, variant))
    turns: list[list[Crowd]] = []
    with running(service(store, task, variant, queue_rows=given.queue), scratch, requests) as client:
        for _ in range(given.turns):
            loads = [
                crowd(client.port, client.path, requests, clients, given.seconds, given.deadline)
                for clients in (given.few, given.clients)
            ]
            turns.append([asyncio.run(load) for load in loads])
    if not all(few.answers_per_second for few, _ in turns):
        raise BenchmarkFailed("the service answered nothing")
    return record(
        artifact=f"{task}/{variant}",
        queue_rows=given.queue,
        deadline_seconds=given.deadline,
        turns=turns,
        ratio=median(many.answers_per_second / few.answers_per_second for few, many in turns),
        unexpected=sorted({status for turn in turns for each in turn for status in each.statuses} - EXPECTED),
        is_late=any(each.latest_seconds > LATE_SECONDS for turn in turns for each in turn),
    )


def lines(found: Record) -> Iterator[str]:
    """Yields a table of the turns, and whether the answers were as they should be."""
    rows = [
        [
            str(each["clients"]),
            number(each["answers_per_second"], 1),
            *(str(each["statuses"].get(status, 0)) for status in sorted(EXPECTED)),
            number(each["latest_seconds"], 2),
        ]
        for turn in found["turns"]
        for each in turn
    ]
    yield from table(("clients", "answers a second", *sorted(EXPECTED), "latest after the deadline, s"), rows)
    yield from ("", f"{found['artifact']}, queue for {found['queue_rows']}: the crowd got {found['ratio']:.3f} of it")
    if found["unexpected"]:
        yield f"Other answers: {', '.join(found['unexpected'])}"
    if found["is_late"]:
        yield f"Answers came more than {LATE_SECONDS:g} s after the deadline"
    yield measured_on(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("overload", __doc__)
    add_variant(parser, "translation/quantized")
    parser.add_argument("--clients", type=int, default=200, help="of the crowd")
    parser.add_argument("--few", type=int, default=32, help="clients that the crowd is compared with")
    parser.add_argument("--queue", type=int, default=64, help="rows that the service queues")
    parser.add_argument("--deadline", type=float, default=10, help="of each request, in seconds")
    parser.add_argument("--seconds", type=float, default=20, help="length of a window")
    parser.add_argument("--turns", type=int, default=5, help="how often both are measured")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
