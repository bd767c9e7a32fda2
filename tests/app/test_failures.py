"""What failures of libraries and of the machine mean, from the exceptions that say so."""

import asyncio
import errno
import os

import pytest

from slimseq.app.errors import InternalError, ResourcesExhausted
from slimseq.app.failures import LibraryPanic, answer_to, forget_frames, panics_as_exceptions, what_ran_out
from slimseq.models_store.errors import CorruptArtifact, InvalidArtifact


class Panic(BaseException):
    """As pyo3's `PanicException`, which cannot be made in Python."""


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "resource"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "memory"),
        (RuntimeError("[ONNXRuntimeError] : 6 : Exception during initialization: std::bad_alloc"), "memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory"),
        (RuntimeError("can't start new thread"), "threads"),
        (RuntimeError("pthread_create failed, error code: 11 error msg: Resource temporarily unavailable"), "threads"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "threads"),
        (OSError(errno.EMFILE, "Too many open files"), "file descriptors"),
        (caused(InvalidArtifact("decoder.onnx cannot be opened"), MemoryError()), "memory"),
        (ValueError("a wrong number"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), None),
    ],
)
def test_an_error_says_what_ran_out(error: Exception, resource: str | None) -> None:
    assert what_ran_out(error) == resource


def test_an_error_that_is_its_own_cause_ends_the_search() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first

    assert what_ran_out(first) is None


def test_what_ran_out_is_answered_with_503_and_other_exceptions_with_500_without_their_text() -> None:
    exhausted = answer_to(MemoryError(), "translation/original cannot be loaded")
    unexpected = answer_to(ValueError("the password is hunter2"), "the request cannot be answered")
    known = CorruptArtifact("translation/original", "decoder.onnx", "is missing")

    assert isinstance(exhausted, ResourcesExhausted) and "memory ran out" in str(exhausted)
    assert isinstance(unexpected, InternalError) and "hunter2" not in str(unexpected)
    assert answer_to(known, "") is known


def test_a_panic_becomes_an_exception() -> None:
    with pytest.raises(LibraryPanic, match="Panic: regex"), panics_as_exceptions():
        raise Panic("regex")


@pytest.mark.parametrize("ending", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit, ValueError])
def test_what_ends_something_on_purpose_stays_as_it_is(ending: type[BaseException]) -> None:
    with pytest.raises(ending), panics_as_exceptions():
        raise ending


def test_what_functions_held_is_freed_with_their_frames() -> None:
    def load() -> None:
        model = bytearray(10)
        raise MemoryError(len(model))

    try:
        load()
    except MemoryError as raised:
        error = raised
    trace = error.__traceback__
    assert trace is not None and trace.tb_next is not None
    held = trace.tb_next.tb_frame
    assert "model" in held.f_locals

    forget_frames(error)

    assert "model" not in held.f_locals
