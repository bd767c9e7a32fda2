import asyncio
from urllib.parse import urlencode

import pytest
from fastapi import Request

from slimseq.app.errors import InvalidRequest, MalformedBody
from slimseq.app.http.form import MULTIPART_PIECE_BYTES, PIECE_BYTES, form_fields, parse_form
from tests.cpu_time import cpu_seconds


def parsed(body: bytes) -> dict[str, str]:
    return asyncio.run(parse_form(body))


def multipart(*fields: tuple[str, bytes], boundary: str = "b") -> Request:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value for name, value in fields]
    return request_of(b"\r\n".join([*parts, b"--b--\r\n"]), f"multipart/form-data; boundary={boundary}".encode())


def request_of(body: bytes, content_type: bytes) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", content_type)]}, receive)


@pytest.mark.parametrize(
    "fields",
    [
        {"q": "The dog is barking.", "source": "en", "target": "de"},
        {"q": "a=b & c+d %41 100 %"},
        {"q": "Grüße, 世界 \U0001f600\r\nnext line"},
        {"q": ""},
        {},
    ],
)
def test_fields_are_read_as_urlencode_writes_them(fields: dict[str, str]) -> None:
    assert parsed(urlencode(fields).encode()) == fields


@pytest.mark.parametrize("start", range(4))
def test_an_escape_at_the_edge_of_a_piece_is_read_whole(start: int) -> None:
    text = "x" * (PIECE_BYTES - 6 - start) + "€" * 50_000

    assert parsed(urlencode({"q": text}).encode()) == {"q": text}


def test_other_requests_run_while_a_large_form_is_decoded() -> None:
    async def turns() -> int:
        parsing = asyncio.ensure_future(parse_form(b"q=" + b"%C3%A4" * 200_000))
        count = 0
        while not parsing.done():
            await asyncio.sleep(0)
            count += 1
        return count

    assert asyncio.run(turns()) > 1_200_000 // PIECE_BYTES


def test_what_is_no_form_is_refused_and_named() -> None:
    with pytest.raises(InvalidRequest, match="q: is given more than once"):
        parsed(b"q=a&q=b")
    with pytest.raises(InvalidRequest, match="more than 100 fields"):
        parsed(b"&".join(b"a%d=1" % number for number in range(101)))
    with pytest.raises(MalformedBody, match="not UTF-8"):
        parsed(b"q=%ff")


def test_percent_signs_that_begin_no_escape_are_kept() -> None:
    assert parsed(b"q=100% sure, %zz%4%41%") == {"q": "100% sure, %zz%4A%"}


def test_a_large_form_of_percent_signs_takes_no_longer_than_another() -> None:
    # Split at each sign it took 3 s.
    assert cpu_seconds(lambda: parsed(b"q=" + b"%" * 4_000_000), below=1) < 1


def test_a_multipart_form_is_read_as_an_urlencoded_one() -> None:
    text = "Grüße & 100 %\r\n\U0001f600" * 100_000

    assert asyncio.run(form_fields(multipart(("q", text.encode()), ("source", b"en")))) == {"q": text, "source": "en"}


def test_other_requests_run_while_a_large_multipart_form_is_parsed() -> None:
    async def turns() -> int:
        parsing = asyncio.ensure_future(form_fields(multipart(("q", b"a" * 4_000_000))))
        count = 0
        while not parsing.done():
            await asyncio.sleep(0)
            count += 1
        return count

    assert asyncio.run(turns()) > 4_000_000 // MULTIPART_PIECE_BYTES


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (multipart(("q", b"a"), ("q", b"b")), "q: is given more than once"),
        (multipart(("q", b"\xff")), "not UTF-8"),
        (multipart(*[(f"a{number}", b"1") for number in range(101)]), "Maximum number of fields is 100"),
        (multipart(('q"; filename="a.txt', b"a")), "Maximum number of files is 0"),
        (multipart(("q", b"a"), boundary="c"), "cannot be read|not a form that can be read"),
        (request_of(b"q=a", b"multipart/form-data"), "boundary"),
    ],
)
def test_a_multipart_form_that_cannot_be_read_is_refused(form: Request, said: str) -> None:
    with pytest.raises((InvalidRequest, MalformedBody), match=said):
        asyncio.run(form_fields(form))
