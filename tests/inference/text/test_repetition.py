import threading
import time
from collections.abc import Callable

import pytest

from slimseq.inference.text.warnings import repetition
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


@pytest.mark.parametrize(("output", "found"), TABLES["a_loop_is_found_with_its_length"])
def test_a_loop_is_found_with_its_length(output: str, found: list[str | int]) -> None:
    assert repetition("The dog is sleeping.", output) == tuple(found)


@pytest.mark.parametrize("output", TABLES["what_people_write_is_no_loop"])
def test_what_people_write_is_no_loop(output: str) -> None:
    assert repetition("", output) is None


def test_what_the_source_repeats_the_output_may_repeat() -> None:
    source, output = "no no no no no no", "nein nein nein nein nein nein"

    assert repetition(source, output) is None
    assert repetition("no no no no", output) == ("nein", 6)


def test_a_long_source_leaves_time_to_other_threads() -> None:
    source, output = "the children garden " * 50_000, "ja ja ja ja ja"

    # The best of three: other programs need the machine too.
    assert min(longest_pause(lambda: repetition(source, output)) for _ in range(3)) < 0.15


def longest_pause(work: Callable[[], object]) -> float:
    """Returns the longest CPU time of some work, in seconds, in which a second thread did not run beside it."""
    is_done, ended = threading.Event(), threading.Event()

    def run() -> None:
        work()
        is_done.set()
        # The clock of a thread is gone with it.
        ended.wait()

    thread = threading.Thread(target=run)
    thread.start()
    assert thread.ident
    clock = time.pthread_getcpuclockid(thread.ident)
    longest, before = 0.0, 0.0
    while not is_done.is_set():
        time.sleep(0.001)
        now = time.clock_gettime(clock)
        longest, before = max(longest, now - before), now
    ended.set()
    thread.join()
    return longest
