"""Keeps libraries from talking on the terminal."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

STANDARD_OUTPUT = 1


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keeps what exporters and quantizers print, which says nothing about the result, off the terminal.

    Standard output is closed below Python too, for native code writes there, and a command's JSON must stay alone.
    """
    logging.disable(logging.WARNING)
    sys.stdout.flush()
    output = os.dup(STANDARD_OUTPUT)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STANDARD_OUTPUT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush()
        os.dup2(output, STANDARD_OUTPUT)
        os.close(output)
        os.close(nowhere)
        logging.disable(logging.NOTSET)
