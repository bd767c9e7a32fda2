"""Limits of keys: requests at once, sliding windows in this process, and windows that processes share in Redis."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from slimseq.app.errors import KeyLimitReached
from slimseq.app.http.callers import Admission, Caller
from slimseq.app.http.keys import KeyLimits
from slimseq.app.http.usage import DAY, UsageCounter
from tests.service.conftest import free_port

pytestmark = pytest.mark.anyio


def caller_with(name: str = "web", **limits: int) -> Caller:
    return Caller(name, name, limits=KeyLimits(**limits))


async def test_only_the_end_of_a_counted_request_allows_another_one() -> None:
    usage = UsageCounter()
    limited = caller_with(concurrent_requests=1)
    running = Admission(limited, usage)
    refused = Admission(limited, usage)
    await running.request()
    with pytest.raises(KeyLimitReached):
        await refused.request()
    # The end of a refused request does not count, and a second end of the same request does not either.
    for each in (refused, running, running):
        each.release()

    await Admission(limited, usage).request()
    with pytest.raises(KeyLimitReached):
        await Admission(limited, usage).request()


async def test_windows_slide_by_the_monotonic_clock_and_not_by_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = UsageCounter()
    limited = caller_with(evaluations_per_day=4)
    seconds = 3.0 * DAY
    monkeypatch.setattr("slimseq.app.http.usage.time.monotonic", lambda: seconds)
    for _ in range(4):
        await Admission(limited, usage).evaluation()
    for now in (time.time() - 2 * DAY, time.time() + 2 * DAY):
        monkeypatch.setattr("slimseq.app.http.usage.time.time", lambda now=now: now)
        with pytest.raises(KeyLimitReached, match="retry in 86400 s"):
            await Admission(limited, usage).evaluation()

    # In the middle of the next window, half of the use in the window before counts.
    seconds = 4.5 * DAY
    for _ in range(2):
        await Admission(limited, usage).evaluation()
    with pytest.raises(KeyLimitReached, match="4 evaluations a day"):
        await Admission(limited, usage).evaluation()

    # A whole window later, the use of then counts no more.
    seconds = 6.0 * DAY
    for _ in range(4):
        await Admission(limited, usage).evaluation()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A real Redis: its URL and its process."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path], stdout=subprocess.DEVNULL
    )
    yield f"redis://127.0.0.1:{port}/0", process
    process.kill()
    process.wait()


@pytest.fixture
async def redis_url(redis: tuple[str, "subprocess.Popen[bytes]"]) -> AsyncIterator[str]:
    """The URL of Redis, once it answers."""
    from redis.asyncio import Redis
    from redis.exceptions import ConnectionError as NoConnection

    client = Redis.from_url(redis[0])
    for _ in range(200):
        try:
            await client.ping()
            break
        except NoConnection:
            await asyncio.sleep(0.05)
    yield redis[0]
    await client.aclose()


async def test_two_processes_count_together_in_redis(redis_url: str) -> None:
    first, second = UsageCounter(redis_url), UsageCounter(redis_url)
    limited = caller_with(requests_per_minute=4, characters_per_minute=100)
    for usage in (first, second, first, second):
        await Admission(limited, usage).request()

    for usage in (first, second):
        with pytest.raises(KeyLimitReached):
            await Admission(limited, usage).request()
    await Admission(limited, first).characters(90)
    with pytest.raises(KeyLimitReached, match="100 characters"):
        await Admission(limited, second).characters(20)


async def test_while_redis_is_away_each_process_counts_for_itself(
    redis_url: str, redis: tuple[str, "subprocess.Popen[bytes]"], caplog: pytest.LogCaptureFixture
) -> None:
    usage, limited = UsageCounter(redis_url), caller_with(requests_per_minute=2)
    await Admission(limited, usage).request()
    redis[1].kill()
    redis[1].wait()

    for _ in range(2):
        await Admission(limited, usage).request()
    with pytest.raises(KeyLimitReached):
        await Admission(limited, usage).request()

    assert caplog.text.count("Redis does not answer") == 1
