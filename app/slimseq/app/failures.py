"""Failures that are not ours: panics of libraries, and memory, threads or file descriptors that have run out.

What catches an unexpected exception, such as a worker, the pool or the middleware, learns here how to answer it.
"""

import asyncio
import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from slimseq.app.errors import InternalError, ResourcesExhausted
from slimseq.models_store.errors import SlimseqError

# They end a task, a generator, a thread or the process on purpose.
ENDINGS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)

MEMORY, THREADS, DESCRIPTORS = "memory", "threads", "file descriptors"
ERROR_NUMBERS = {
    errno.ENOMEM: MEMORY,
    errno.EAGAIN: THREADS,
    errno.EMFILE: DESCRIPTORS,
    errno.ENFILE: DESCRIPTORS,
}
# Those with which a file cannot be read. A lock that is taken has EAGAIN.
UNREADABLE = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})
# What libraries say whose exceptions have no class for it: C++'s allocator, glibc's loader, CPython, and ONNX Runtime
# and C++ where they start threads.
TEXTS = {
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


def is_panic(error: BaseException) -> bool:
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
        if isinstance(each, OSError) and each.errno in ERROR_NUMBERS:
            return ERROR_NUMBERS[each.errno]
        said = str(each).lower()
        for text, resource in TEXTS.items():
            if text in said:
                return resource
    return None


def answer_to(error: BaseException, what_failed: str, *, has_texts_of_clients: bool = True) -> SlimseqError:
    """Returns the error to answer with. The text of an unexpected exception is not shown: the caller logs it.

    A known error is the answer itself, unless something ran out. A file that cannot be read for want of a descriptor
    may be right. The texts of known errors say what ran out only if none of them may be a client's.
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
        if isinstance(each, OSError) and each.errno in UNREADABLE:
            return ERROR_NUMBERS[each.errno]
    return None


def forget_frames(error: BaseException) -> None:
    """Frees what the functions held that an error came through, such as a model that is half loaded."""
    for each in _chain(error):
        traceback.clear_frames(each.__traceback__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error, the one that caused it, and so on."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
