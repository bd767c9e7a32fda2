"""Handles Ctrl-C and SIGTERM during training, so that the loop writes a checkpoint after the step and then stops."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """The signal that arrived, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether to stop after this step."""
        return self.signal is not None

    def note(self, number: int, _: FrameType | None) -> None:
        """Notes a signal; a second one stops at once.

        Raises:
            KeyboardInterrupt: it is the second signal.
        """
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    def leave(self) -> None:
        """Ends the program as the signal would.

        Raises:
            KeyboardInterrupt: it was SIGINT.
            SystemExit: it was SIGTERM, with the exit code that a shell gives to it.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise SystemExit(128 + self.signal)


@contextmanager
def watching_for_interruption() -> Iterator[Interruption]:
    """Yields an object that notes SIGINT and SIGTERM during the block; only in the main thread."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.signal(number, interruption.note) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
