"""The reason of an error of Ray. This module does not import Ray, so that the test of all patterns reads it."""

import re

# How the last line of a traceback begins.
MODULE_PATH = re.compile(r"^\w+(\.\w+)+: ")


def reason_of(error: BaseException) -> str:
    """Returns the last line of an error of Ray, which has the traceback of another process before it."""
    lines = str(error).strip().splitlines()
    return MODULE_PATH.sub("", lines[-1]) if lines else type(error).__name__
