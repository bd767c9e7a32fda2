"""The log of the service: one JSON object a line on standard error, with the request id inside of a request.

Values are made printable here, so that this holds for the records of every library: control characters are escaped,
long values cut, and files named relative to the store, the packages or the home folder.
"""

import logging
import logging.config
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asgi_correlation_id import correlation_id
from pythonjsonlogger.core import RESERVED_ATTRS, LogData
from pythonjsonlogger.json import JsonFormatter

from slimseq.models_store.errors import printable, shortened

# Tracebacks keep their lines, of which there are many.
TRACEBACKS = ("exception", "stack_info", "trace")
MAX_TRACEBACK_CHARACTERS = 10_000
# The path of a request, which is no file of this machine, and that of the store, which one line names.
WHOLE_PATHS = ("path", "store")


class LineFormatter(JsonFormatter):
    """Writes a record with its `extra` fields as one line of JSON.

    Args:
        folders: paths below them are written without them.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            timestamp="time",
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
            json_ensure_ascii=False,
        )
        prefixes = {f"{path}/" for folder in folders for path in (folder.absolute(), folder.resolve())}
        self._prefixes = sorted(prefixes - {"//"}, key=len, reverse=True)

    def process_log_record(self, log_data: LogData) -> LogData:
        """Adds the request id, writes the level in lower case, and makes all values printable."""
        if identifier := correlation_id.get():
            log_data["request_id"] = identifier
        log_data["level"] = log_data["level"].lower()
        return {name: self._shown(value, name) for name, value in log_data.items()}

    def _shown(self, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {printable(str(key)): self._shown(each, name) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._shown(each, name) for each in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        text = str(value)
        if name not in WHOLE_PATHS:
            for prefix in self._prefixes:
                text = text.replace(prefix, "")
        if name in TRACEBACKS:
            lines = "\n".join(printable(line) for line in text.split("\n"))
            return shortened(lines, MAX_TRACEBACK_CHARACTERS)
        return printable(text)


def configure_logging(level: str, folders: Iterable[Path] = ()) -> None:
    """Sends the records of every logger, including uvicorn's, through the formatter.

    Args:
        level: minimum level.
        folders: paths below them are written without them, as are those below the home folder, the folder of temporary
            files and those of Python packages.
    """
    packages = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    known = [*folders, *packages, Path(tempfile.gettempdir()), *_home()]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": LineFormatter, "folders": known}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            "loggers": {name: {"handlers": [], "propagate": True} for name in ("uvicorn", "uvicorn.error")},
        }
    )


def _home() -> list[Path]:
    try:
        return [Path.home()]
    except RuntimeError:  # a user without an entry in the system's list
        return []
