"""The log of the service on standard error: one JSON object a line, or a line for people where it is a terminal.

Values are made printable here, so that this holds for the records of every library: keys lose their secret, control
characters are escaped, long values cut, and files named relative to the store, the packages or the home folder.
"""

import asyncio
import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from pydantic_core import to_json

from slimseq.models_store.errors import printable, shortened

# The id of the request that is being answered, empty outside of requests.
request_id: ContextVar[str] = ContextVar("request_id", default="")

MAX_TRACEBACK_CHARACTERS = 10_000
# Time for which lines of requests are kept, to be written together.
WRITE_SECONDS = 0.05
# The message of the line of a request.
REQUEST = "request"
# The key of a client: the group is its public part.
SECRET = re.compile(r"(slq_[0-9a-f]{8}_)[A-Za-z0-9_-]{43}")
# Fields whose paths stay whole: the path of a request is no file, and one line has to name the store.
WHOLE_PATHS = ("path", "store")
# Fields that people at a terminal do not need.
LEFT_OUT = ("level", "logger", "message", "time", "route", "client")
# Number of attributes of every record, which come before those of `extra`.
OWN_COUNT = len(vars(logging.makeLogRecord({})))
# Attributes of records that are no fields of a line. Every record has the first ones, formatters add `message` and
# `asctime`, and uvicorn adds its message with colours.
OWN_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"}
# Types whose values need no escape.
PLAIN = (int, float, bool, type(None))


class LineFormatter(logging.Formatter):
    """Writes a record with its `extra` fields as one line: JSON, or for people the time, the message and the fields.

    Paths below one of the `folders` are shown without the folder.
    """

    def __init__(self, folders: Iterable[Path] = (), is_json: bool = True) -> None:
        super().__init__()
        self._is_json = is_json
        # Cached, since lines of requests have the same few texts.
        self._printable = lru_cache(256)(self._text)
        prefixes = {f"{path}/" for folder in folders for path in (folder.absolute(), folder.resolve())}
        self._prefixes = sorted(prefixes - {"//"}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._printable(record.getMessage(), False),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if identifier := request_id.get():
            line["request_id"] = identifier
        # The attributes of `extra` come last.
        for name, value in islice(vars(record).items(), OWN_COUNT, None):
            if name in OWN_ATTRIBUTES:
                continue
            if name == "trace":
                # The traceback of another process.
                line[name] = self._traceback(value)
            else:
                line[name] = self._shown(value, name in WHOLE_PATHS)
        if record.exc_info:
            line["exception"] = self._traceback(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack_info"] = self._traceback(record.stack_info)
        if self._is_json:
            return to_json(line, inf_nan_mode="constants").decode()
        return for_people(record, line)

    def _shown(self, value: Any, is_path: bool = False) -> Any:
        if isinstance(value, PLAIN):
            return value
        if isinstance(value, dict):
            return {printable(str(key)): self._shown(each, is_path) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._shown(each, is_path) for each in value]
        return self._printable(str(value), is_path)

    def _text(self, text: str, is_path: bool) -> str:
        shown = SECRET.sub(r"\1…", text)
        return printable(shown if is_path else self._relative(shown))

    def _traceback(self, text: str) -> str:
        """Returns a traceback with its line breaks, made printable line by line, and cut if it is very long."""
        lines = "\n".join(printable(line) for line in self._relative(text).split("\n"))
        return shortened(lines, MAX_TRACEBACK_CHARACTERS)

    def _relative(self, text: str) -> str:
        if "/" in text:
            for prefix in self._prefixes:
                text = text.replace(prefix, "")
        return text


def for_people(record: logging.LogRecord, line: dict[str, Any]) -> str:
    """Returns a line for a terminal: time, level unless it is INFO, message, and fields."""
    level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
    time = f"{datetime.fromtimestamp(record.created):%H:%M:%S}"
    fields = [f"{name}={value}" for name, value in line.items() if name not in LEFT_OUT]
    return f"{time} {level}{' '.join([line['message'], *fields])}"


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to standard error. Lines of requests are written together, since each write is a system call."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line of a request for at most `WRITE_SECONDS`. Others are written at once, after the kept lines."""
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.msg != REQUEST:
                self.flush()
            elif len(self._lines) == 1:
                self._flush_later()
        except Exception:
            self.handleError(record)

    def _flush_later(self) -> None:
        """Writes the kept lines after `WRITE_SECONDS`, or at once on a thread without an event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            loop.call_later(WRITE_SECONDS, self.flush)

    def flush(self) -> None:
        with self.lock or contextlib.nullcontext():
            lines = self._lines
            self._lines = []
            if lines:
                self.stream.write("".join(lines))
                self.stream.flush()


def configure_logging(level: str, folders: Iterable[Path] = ()) -> None:
    # No line names the place of its call, the thread or the process. Finding them takes 50 µs a record.
    # https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    packages = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    # `Path.home` would raise for a user without an entry in the system's list.
    home = os.path.expanduser("~")  # noqa: PTH111
    known = [*folders, *packages, Path(tempfile.gettempdir()), Path(home)]
    handler = LineHandler()
    handler.setFormatter(LineFormatter(known, is_json=not sys.stderr.isatty()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What Alembic says of a migration at `INFO` is about Alembic.
    logging.getLogger("alembic").setLevel(max(logging.WARNING, logging.getLogger().level))
