"""Lines of the log: printable, without secrets, with short paths, and written together."""

import asyncio
import io
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from slimseq.app.observability.logs import REQUEST, WRITE_SECONDS, LineFormatter, LineHandler

UNSAFE = {
    "C0": "\x1b[31m",
    "line feed": "a\nb",
    "delete": "\x7f",
    "C1": "\x9b31m",
    "bidirectional override": "\u202eabc",
    "bidirectional isolate": "\u2066abc\u2069",
    "line separator": "a\u2028b\u2029c",
    "zero width": "a\u200bb",
    "lone surrogate": "\ud83d",
}


def logged(formatter: LineFormatter | None = None, **fields: Any) -> dict[str, Any]:
    """The line of a record with these fields, which has to be one line of printable UTF-8."""
    text = (formatter or LineFormatter()).format(logging.makeLogRecord({"msg": "m", **fields}))
    assert text.encode().decode().isprintable(), ascii(text)
    line: dict[str, Any] = json.loads(text)
    return line


def raised(message: str) -> Any:
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("text", UNSAFE.values(), ids=UNSAFE)
def test_what_is_not_printable_is_escaped_wherever_it_is(text: str) -> None:
    message = logged(msg="asked for %s", args=(text,))["message"]
    extra = logged(reason=text)["reason"]
    nested = logged(reasons=[{text: text}])["reasons"]
    exception = logged(exc_info=raised(text))["exception"]

    escaped = ascii(text)[1:-1]
    assert message == f"asked for {escaped}" and extra == escaped and nested == [{escaped: escaped}]
    # A traceback keeps its lines.
    assert exception.endswith(f"ValueError: {escaped}".replace("\\n", "\n"))


def test_letters_of_all_scripts_stay_readable() -> None:
    assert logged(msg="Größe 東京 😀 שלום")["message"] == "Größe 東京 😀 שלום"


def test_long_values_are_cut_in_the_middle() -> None:
    line = logged(msg="m" * 5000, reason="a" * 900 + "b" * 100, many=["x" * 10_000], exc_info=raised("z" * 100_000))

    assert line["message"] == "m" * 500 + " … 4000 characters … " + "m" * 500
    assert line["reason"] == "a" * 900 + "b" * 100
    assert len(line["many"][0]) < 1100
    # The frames of a traceback are worth more than the text of its exception.
    assert "test_logs.py" in line["exception"] and len(line["exception"]) < 3000


def test_files_are_named_relative_to_the_store_and_to_packages(tmp_path: Path) -> None:
    formatter = LineFormatter([tmp_path, Path(__file__).parents[3]])

    line = logged(formatter, file=tmp_path / "translation" / "a", msg=f"no {tmp_path}/b", exc_info=raised("c"))

    assert (line["file"], line["message"]) == ("translation/a", "no b")
    assert 'File "tests/app/observability/test_logs.py"' in line["exception"]
    assert logged(formatter, path=f"{tmp_path}/asked")["path"] == f"{tmp_path}/asked"


def test_a_store_at_the_root_hides_nothing() -> None:
    assert logged(LineFormatter([Path("/")]), reason="/a/b")["reason"] == "/a/b"


@pytest.mark.anyio
async def test_lines_of_requests_are_written_together_and_others_at_once() -> None:
    handler, written = LineHandler(), io.StringIO()
    handler.setStream(written)

    def log(message: str) -> None:
        handler.emit(logging.makeLogRecord({"msg": message}))

    log(REQUEST)
    before = written.getvalue()
    log("variant loaded")
    at_once = written.getvalue()
    log(REQUEST)
    await asyncio.sleep(2 * WRITE_SECONDS)

    assert (before, at_once) == ("", "request\nvariant loaded\n")
    assert written.getvalue() == "request\nvariant loaded\nrequest\n"


def test_people_read_the_time_the_message_and_the_fields() -> None:
    record = logging.makeLogRecord({"msg": "request", "levelno": logging.INFO, "path": "/translate", "client": "::1"})

    line = LineFormatter(is_json=False).format(record)

    assert re.fullmatch(r"\d\d:\d\d:\d\d request path=/translate", line)
