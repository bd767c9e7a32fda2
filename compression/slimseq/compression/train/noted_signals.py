"""Notes SIGINT and SIGTERM during a training, so that it can write a checkpoint before the program ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def noting_signals() -> Iterator[list[int]]:
    """Yields a list that gets the first SIGINT or SIGTERM, so that a checkpoint is written before the program ends.

    A second signal raises KeyboardInterrupt. Python handles signals in the main thread only, so in any other thread the
    list stays empty.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, _: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    handlers_before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in handlers_before.items():
            signal.signal(number, handler)


def exit_for(signal_number: int) -> NoReturn:
    """Ends the program as the signal would have done without a handler."""
    if signal_number == signal.SIGINT:
        raise KeyboardInterrupt
    # A shell reports a process that a signal ended as 128 plus the signal's number.
    raise SystemExit(128 + signal_number)
