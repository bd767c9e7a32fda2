"""Exceptions of libraries and of the system: which resource they say ran out, and how a request is answered."""

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


def test_a_resource_that_ran_out_is_named_in_the_answer() -> None:
    exhausted = answer_to(MemoryError(), "translation/original cannot be loaded")

    assert isinstance(exhausted, ResourcesExhausted)
    assert "memory ran out" in str(exhausted)


def test_the_text_of_an_unexpected_exception_is_not_in_the_answer() -> None:
    unexpected = answer_to(ValueError("the password is hunter2"), "the request cannot be answered")

    assert isinstance(unexpected, InternalError)
    assert "hunter2" not in str(unexpected)


def test_a_known_error_is_the_answer_itself() -> None:
    known = CorruptArtifact("translation/original", "decoder.onnx", "is missing")

    assert answer_to(known, "") is known


def test_a_panic_becomes_an_exception() -> None:
    with pytest.raises(LibraryPanic, match="Panic: regex"), panics_as_exceptions():
        raise Panic("regex")


@pytest.mark.parametrize("ending", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit, ValueError])
def test_exceptions_that_are_no_panic_stay_as_they_are(ending: type[BaseException]) -> None:
    with pytest.raises(ending), panics_as_exceptions():
        raise ending


def test_local_variables_in_the_traceback_of_an_error_are_freed() -> None:
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
