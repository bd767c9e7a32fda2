"""Pads input ids and runs the encoder graph; flushes denormal numbers to zero while a graph runs.

A softmax gives masked and very low scores a probability near 1e-38, which float32 stores as a denormal number. Intel
CPUs need about a hundred cycles for each (Intel 64 and IA-32 Architectures Optimization Reference Manual,
"Floating-Point Exceptions/Denormals"). ONNX Runtime's `session.set_denormal_as_zero` sets the threads of the session's
pool, but not the thread that calls `run`.
"""

import ctypes
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids

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


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Ids, Ids]:
    """Returns ids padded on the right and their attention mask, both `(rows, longest)`, int64."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for row, row_ids in enumerate(rows):
        ids[row, : len(row_ids)] = row_ids
        mask[row, : len(row_ids)] = 1
    return ids, mask


def run_encoder(encoder: ort.InferenceSession, ids: Ids, mask: Ids) -> dict[str, NDArray[Any]]:
    """Returns cross-attention keys and values by the names of the decoder's inputs, given ids and mask as of `pad`."""
    names = [output.name for output in encoder.get_outputs()]
    values = without_denormals(encoder.run, names, {"input_ids": ids, "attention_mask": mask})
    return {name.replace("present.", "past_key_values."): value for name, value in zip(names, values, strict=True)}
