"""When freed memory is given back: after a burst, not at every request, and not where there is nothing to win."""

import pytest

from slimseq.app.serving.pool.trimming import BUSY_SECONDS, QUIET_SECONDS, HeapTrimmer

pytestmark = pytest.mark.anyio

MEGABYTES = 2**20


class Process:
    """A process whose memory, clock and requests a test sets; trimming leaves what is `needed`."""

    def __init__(self) -> None:
        self.resident = self.needed = 200 * MEGABYTES
        self.now = 0.0
        self.idle = QUIET_SECONDS
        self.trims = 0
        self.trimmer = HeapTrimmer(
            lambda: self.idle, lambda: self.resident, self.trim, lambda: self.now, check_seconds=0.01
        )

    def trim(self) -> None:
        self.trims += 1
        self.resident = self.needed


def trimmed() -> Process:
    process = Process()
    process.trimmer.trim()
    return process


def test_memory_that_a_burst_has_left_is_trimmed_once_requests_have_paused() -> None:
    process = trimmed()
    process.resident = 400 * MEGABYTES

    process.idle = 0.0
    assert not process.trimmer.is_due()
    process.idle = QUIET_SECONDS / 2
    assert not process.trimmer.is_due()
    process.idle = QUIET_SECONDS
    assert process.trimmer.is_due()


def test_where_requests_do_not_pause_it_is_trimmed_now_and_then() -> None:
    process = trimmed()
    process.resident, process.idle = 400 * MEGABYTES, 0.0

    process.now = BUSY_SECONDS - 1
    assert not process.trimmer.is_due()
    process.now = BUSY_SECONDS
    assert process.trimmer.is_due()
    process.trimmer.trim()
    process.resident = 400 * MEGABYTES
    assert not process.trimmer.is_due()


def test_what_a_trim_under_traffic_could_not_reach_is_trimmed_in_the_pause_that_follows() -> None:
    process = trimmed()
    process.idle, process.now = 0.0, BUSY_SECONDS
    process.resident = process.needed = 400 * MEGABYTES
    process.trimmer.trim()

    # The requests have ended, and what they have freed is less than what was in use at the last time.
    process.resident, process.needed, process.idle = 330 * MEGABYTES, 200 * MEGABYTES, QUIET_SECONDS

    assert process.trimmer.is_due()
    process.trimmer.trim()
    assert not process.trimmer.is_due()
