"""The log of the service: one JSON object a line on standard error, with the request id inside of a request."""

import logging
import logging.config

from asgi_correlation_id import correlation_id
from pythonjsonlogger.core import RESERVED_ATTRS, LogData
from pythonjsonlogger.json import JsonFormatter


class LineFormatter(JsonFormatter):
    """Writes a record with its `extra` fields as one line of JSON."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            timestamp="time",
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: LogData) -> LogData:
        """Adds the request id, and writes the level in lower case."""
        if identifier := correlation_id.get():
            log_data["request_id"] = identifier
        log_data["level"] = log_data["level"].lower()
        return log_data


def configure_logging(level: str) -> None:
    """Sends the records of every logger, including uvicorn's, through the formatter."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": LineFormatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            "loggers": {name: {"handlers": [], "propagate": True} for name in ("uvicorn", "uvicorn.error")},
        }
    )
