"""Denormal numbers taken for zero while a graph runs.

What is masked, or far below the largest score, leaves a softmax as a number near 1e-38 that float32 can only hold
denormal, and Intel's cores take a hundred cycles for each (Intel 64 and IA-32 Architectures Optimization Reference
Manual, "Floating-Point Exceptions/Denormals"). ONNX Runtime's `session.set_denormal_as_zero` reaches the threads of a
session's pool, not those that call `run`.
"""

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# The System V ABI's `fenv_t` of x86-64: 28 bytes of x87 state, then MXCSR.
_WORDS = 8
_MXCSR = 7
# Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 10.2.3: FTZ is bit 15, DAZ is bit 6.
_FLUSHING = 1 << 15 | 1 << 6
_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" and platform.machine() == "x86_64" else None
_IS_KNOWN = hasattr(_LIBRARY, "fesetenv")


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Within, the thread's own arithmetic takes denormal numbers for zero, where the CPU is known to need it."""
    if _LIBRARY is None or not _IS_KNOWN:
        yield
        return
    before = (ctypes.c_uint32 * _WORDS)()
    _LIBRARY.fegetenv(before)
    within = type(before)(*before)
    within[_MXCSR] |= _FLUSHING
    _LIBRARY.fesetenv(within)
    try:
        yield
    finally:
        _LIBRARY.fesetenv(before)
