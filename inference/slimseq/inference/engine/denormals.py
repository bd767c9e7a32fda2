"""Flushes denormal numbers to zero while a graph runs.

A softmax gives masked and very low scores a probability near 1e-38, which float32 stores as a denormal number. Intel
CPUs need about a hundred cycles for each (Intel 64 and IA-32 Architectures Optimization Reference Manual,
"Floating-Point Exceptions/Denormals"). ONNX Runtime's `session.set_denormal_as_zero` sets the threads of the session's
pool, but not the thread that calls `run`.
"""

import ctypes
import platform
import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 10.2.3: FTZ is bit 15, DAZ is bit 6.
_FLUSHING = 1 << 15 | 1 << 6


class _Environment(ctypes.Structure):
    """The System V ABI's `fenv_t` of x86-64."""

    _fields_ = (("x87", ctypes.c_uint32 * 7), ("mxcsr", ctypes.c_uint32))


def _library() -> ctypes.PyDLL | None:
    """Returns the C library, which sets a thread's floating-point environment; None on other platforms."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    # A `CDLL` would release the interpreter lock at every call and wait for it again.
    library = ctypes.PyDLL(None)
    return library if hasattr(library, "fesetenv") else None


_LIBRARY = _library()


def without_denormals(run: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function with denormal numbers flushed to zero in the calling thread.

    On platforms other than Linux on x86-64 it only calls the function.
    """
    if _LIBRARY is None:
        return run(*arguments)
    environment = _Environment()
    pointer = ctypes.byref(environment)
    _LIBRARY.fegetenv(pointer)
    before = environment.mxcsr
    environment.mxcsr = before | _FLUSHING
    _LIBRARY.fesetenv(pointer)
    try:
        return run(*arguments)
    finally:
        environment.mxcsr = before
        _LIBRARY.fesetenv(pointer)
