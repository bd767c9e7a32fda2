import json
import logging
import sys

from slimseq.app.observability.logs import LineFormatter


def test_a_record_is_one_line_of_json_with_its_extra_fields() -> None:
    record = logging.makeLogRecord(
        {"msg": "variant %s", "args": ("opened",), "levelname": "INFO", "name": "app", "artifact": "a/b"}
    )

    line = json.loads(LineFormatter().format(record))

    assert (line["message"], line["level"], line["logger"], line["artifact"]) == (
        "variant opened",
        "info",
        "app",
        "a/b",
    )


def test_an_exception_stays_on_the_line() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})

    text = LineFormatter().format(record)

    assert "\n" not in text and "ValueError: broken" in json.loads(text)["exception"]
