import threading
import time
from collections.abc import Callable

import pytest

from slimseq.inference.text.warnings import repetition


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("der der der der der Hund", ("der", 5)),
        ("Er sagte, dass er sagte, dass er sagte, dass er ging.", ("er sagte, dass", 3)),
        ("Das ist gut. Das ist gut. Das ist gut. Das ist gut.", ("das ist gut.", 4)),
        ("Bitterbitterbitterbitterbitter", ("bitter", 5)),
        ("是的是的是的是的是的是的", ("是的", 6)),
        ("他说他不知道他说他不知道他说他不知道。", ("他说他不知道", 3)),
    ],
)
def test_a_loop_is_found_with_its_length(output: str, found: tuple[str, int]) -> None:
    assert repetition("The dog is sleeping.", output) == found


@pytest.mark.parametrize(
    "output",
    [
        "",
        "Ein Hund schläft.",
        "La la la la!",
        "Sehr, sehr, sehr guter Wein.",
        "Er ging und ging und kam nie an.",
        "Die Menschen, die die Stadt verließen, und die, die blieben.",
        "10000000000000",
        "-----------------",
        "Sooooo schön! Hahaha!",
        "Der Mann und die Frau und der Hund und die Katze und der Vogel und die Maus.",
    ],
)
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
