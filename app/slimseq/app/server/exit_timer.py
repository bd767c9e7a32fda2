"""A timer of the C library that ends the process with exit code 0 even if no Python code can run.

POSIX's `timer_create` with `SIGEV_THREAD` calls a C function on a thread of the C library: here `_exit` with 0. It
does not need the interpreter lock, which C code may hold for seconds, and works while the interpreter shuts down. It
exists on Linux only. On macOS and Windows, `slimseq.app.server.watchdog` works without it.
"""

import ctypes
import logging
import time

SIGEV_THREAD = 2  # <bits/sigevent-consts.h>

logger = logging.getLogger(__name__)


class _Event(ctypes.Structure):
    """`struct sigevent`, 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("padding", ctypes.c_char * 32),
    )


class _Times(ctypes.Structure):
    """`struct itimerspec`: the interval of a repeated timer, and the time until it first expires."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class ExitTimer:
    """Ends the process some time after it is set."""

    def __init__(self) -> None:
        """Creates the timer if the platform has one."""
        self._timer: ctypes.c_void_p | None = None
        try:
            self._library = ctypes.CDLL(None)
            function = ctypes.cast(self._library._exit, ctypes.c_void_p)
            event = _Event(notify=SIGEV_THREAD, function=function.value)
            timer = ctypes.c_void_p()
            if self._library.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) == 0:
                self._timer = timer
        except (AttributeError, OSError, TypeError):
            logger.debug("the C library has no timers")

    def set(self, seconds: float) -> None:
        """Sets the time until the process ends, in place of an earlier one."""
        if self._timer is not None:
            whole, part = divmod(max(int(seconds * 1e9), 1), 10**9)
            self._library.timer_settime(self._timer, 0, ctypes.byref(_Times(0, 0, whole, part)), None)
