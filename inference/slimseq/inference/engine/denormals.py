"""Denormal numbers taken for zero while a graph runs.

What is masked, or far below the largest score, leaves a softmax as a number near 1e-38 that float32 can only hold
denormal, and Intel's cores take a hundred cycles for each (Intel 64 and IA-32 Architectures Optimization Reference
Manual, "Floating-Point Exceptions/Denormals"). ONNX Runtime's `session.set_denormal_as_zero` reaches the threads of a
session's pool, not those that call `run`.
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
    """Returns what sets a thread's floating-point environment; None where its layout is not known."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    # Not a `CDLL`: that lets go of the interpreter at every call, and has to wait for it again.
    library = ctypes.PyDLL(None)
    return library if hasattr(library, "fesetenv") else None


_LIBRARY = _library()


def without_denormals(run: Callable[..., Result], *arguments: object) -> Result:
    """Calls something that takes denormal numbers for zero meanwhile, in its own thread.

    Where the CPU is not one that is known to need it, it is called as it is.

    Args:
        run: what is called.
        arguments: its own.

    Returns:
        What it returns.
    """
    if _LIBRARY is None:
        return run(*arguments)
    environment = _Environment()
    place = ctypes.byref(environment)
    _LIBRARY.fegetenv(place)
    before = environment.mxcsr
    environment.mxcsr = before | _FLUSHING
    _LIBRARY.fesetenv(place)
    try:
        return run(*arguments)
    finally:
        environment.mxcsr = before
        _LIBRARY.fesetenv(place)
