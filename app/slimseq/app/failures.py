"""Failures that are not ours: panics of libraries, and memory, threads or file descriptors that have run out.

Code that catches an unexpected exception, such as a worker, the pool or the middleware, gets from this module the error
to answer with (`answer_to`). The service calls `switch_off_backtraces` when it starts.
"""

import asyncio
import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from slimseq.app.errors import InternalError, ResourcesExhausted
from slimseq.models_store.errors import SlimseqError

# Exceptions that end a task, a generator, a thread or the process on purpose.
ENDINGS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)

MEMORY, THREADS, DESCRIPTORS = "memory", "threads", "file descriptors"
RESOURCE_OF_ERRNO = {
    errno.ENOMEM: MEMORY,
    errno.EAGAIN: THREADS,
    errno.EMFILE: DESCRIPTORS,
    errno.ENFILE: DESCRIPTORS,
}
# The error numbers of a file that cannot be read for want of a resource. Without EAGAIN: a file that is locked by
# another process has it too.
UNREADABLE_ERRNOS = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})
# Libraries raise general classes, and only the text says what ran out. These texts, in small letters, are from C++'s
# allocator, glibc's loader, CPython, and ONNX Runtime and C++ where they start threads.
RESOURCE_OF_TEXT = {
    "bad_alloc": MEMORY,
    "bad allocation": MEMORY,
    "cannot allocate memory": MEMORY,
    "failed to map segment": MEMORY,
    "can't start new thread": THREADS,
    "pthread_create": THREADS,
    "resource temporarily unavailable": THREADS,
    "too many open files": DESCRIPTORS,
}


class LibraryPanic(Exception):
    """A panic of a library in Rust. pyo3 raises it as an exception that `except Exception` does not catch."""

    def __init__(self, panic: BaseException) -> None:
        super().__init__(f"{type(panic).__name__}: {panic}")


def switch_off_backtraces() -> None:
    """Lets panics of libraries write no backtrace. Child processes inherit this. Call it before the first panic.

    Rust looks up the names of a backtrace's functions in the debug information of Python and of all libraries, and
    keeps what it has read while the process lives: 55 MB with the Python of pyenv. Nobody needs the backtrace, because
    the service logs the exception that the panic becomes.
    """
    os.environ["RUST_BACKTRACE"] = "0"


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic: pyo3's class for it is none of `Exception`, and none of Python's endings."""
    return not isinstance(error, (Exception, *ENDINGS))


@contextmanager
def panics_as_exceptions() -> Iterator[None]:
    """Raises `LibraryPanic` in place of a panic."""
    try:
        yield
    except BaseException as error:
        if is_panic(error):
            raise LibraryPanic(error) from error
        raise


def what_ran_out(error: BaseException) -> str | None:
    """Returns what an error, or one that caused it, says has run out: memory, threads or file descriptors."""
    for each in _chain(error):
        if isinstance(each, MemoryError):
            return MEMORY
        if isinstance(each, OSError) and each.errno in RESOURCE_OF_ERRNO:
            return RESOURCE_OF_ERRNO[each.errno]
        error_text = str(each).lower()
        for text, resource in RESOURCE_OF_TEXT.items():
            if text in error_text:
                return resource
    return None


def answer_to(error: BaseException, what_failed: str, *, has_texts_of_clients: bool = True) -> SlimseqError:
    """Returns the error to answer with.

    - Something ran out: `ResourcesExhausted`. It also replaces a known error, such as "this artifact is corrupt": the
      file may be right, and could not be read for want of a file descriptor.
    - A known error, a `SlimseqError`, is the answer itself.
    - Any other exception: `InternalError`. Its own text is not shown; the caller logs it.

    Args:
        error: the exception that was caught.
        what_failed: begins the text of `ResourcesExhausted`.
        has_texts_of_clients: whether the text of a known error may quote a client, who could write "bad_alloc". Then
            only error numbers of a known error say what ran out, and not its text.
    """
    if isinstance(error, SlimseqError) and has_texts_of_clients:
        resource = _unreadable_for(error)
    else:
        resource = what_ran_out(error)
    if resource is not None:
        return ResourcesExhausted(what_failed, resource)
    return error if isinstance(error, SlimseqError) else InternalError()


def _unreadable_for(error: BaseException) -> str | None:
    """Returns what has run out so that a file could not be read, None if that is not why an error was raised."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in UNREADABLE_ERRNOS:
            return RESOURCE_OF_ERRNO[each.errno]
    return None


def forget_frames(error: BaseException) -> None:
    """Frees the local variables in the traceback of an error, such as a model that is half loaded."""
    for each in _chain(error):
        traceback.clear_frames(each.__traceback__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error, the one that caused it, and so on."""
    # A chain may be a circle.
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
