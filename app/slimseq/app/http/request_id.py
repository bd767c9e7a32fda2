"""The id of the request that is being handled, for answers and log lines alike.

`slimseq.app.http.middleware.request_id` sets it; whatever runs within the request's context reads it.
"""

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"

_SANE = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """Returns the id of the request in whose context this runs, empty outside of one."""
    return _current.get()


def enter_request(offered: str | None) -> str:
    """Makes the offered id the current one if it is sane, else a new one, and returns it."""
    identifier = offered if offered and _SANE.fullmatch(offered) else uuid.uuid4().hex
    _current.set(identifier)
    return identifier
