"""Bodies are read within limits of bytes, JSON values, depth and encoding, and block nobody for long."""

import asyncio
import contextlib
import json
import random
from typing import Any

import pytest

from slimseq.app.errors import BodyTooComplex, MalformedBody, Overloaded
from slimseq.app.http.body import MAX_LARGE_BODIES, PIECE_BYTES, BodyReader, JsonScanner
from tests.app.http.asgi import Connection
from tests.cpu_time import cpu_seconds

pytestmark = pytest.mark.anyio
# About as many values as the service allows by default.
MAX_VALUES = 5000
JSON = ("Content-Type", "application/json")


async def read(bodies: BodyReader, connection: Connection) -> list[bytes] | None:
    async with asyncio.timeout(10):
        return await bodies.read(connection.scope["path"], dict(connection.scope["headers"]), connection.receive)


async def test_other_tasks_run_while_a_large_chunk_is_scanned() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    pieces = 20
    connection = Connection("POST", [JSON], [b'"' + b"a" * (PIECE_BYTES * pieces) + b'"'])
    beside = asyncio.ensure_future(others())
    await read(BodyReader(10_000_000, 10), connection)
    beside.cancel()

    # About one turn between two pieces.
    assert turns >= pieces - 2


async def test_bodies_in_progress_are_limited_together_until_they_are_released() -> None:
    body = b'{"a": 1  }'

    bodies = BodyReader(len(body), 100)
    for _ in range(MAX_LARGE_BODIES):
        await read(bodies, Connection("POST", [JSON], [body]))
    for _ in range(2):
        with pytest.raises(Overloaded, match="retry in 1 s"):
            await read(bodies, Connection("POST", [JSON], [b"{}"]))

    bodies.release(len(body))

    assert await read(bodies, Connection("POST", [JSON], [body])) == [body]


# What a scanner could take for something else, and text of one to four bytes in UTF-8.
LETTERS = ['"', "\\", "\\\\", '\\"', "[", "]", "{", "}", ",", ":", "a", "ä", "\U0001f600", "\n", "/"]


def counted(body: bytes, piece_bytes: int) -> int:
    """Returns how many values the scanner counts: the least limit that lets a body pass."""
    for limit in range(len(body) + 1):
        scanner = JsonScanner(limit)
        try:
            for start in range(0, len(body), piece_bytes):
                scanner.feed(body[start : start + piece_bytes])
            scanner.feed(b"", is_last=True)
        except BodyTooComplex:
            continue
        return limit
    raise AssertionError("no limit lets it pass")


def values(content: Any) -> int:
    """Counts commas, colons and opening brackets from what a parser made of a body."""
    if isinstance(content, dict):
        return 1 + max(2 * len(content) - 1, 0) + sum(map(values, content.values()))
    if isinstance(content, list):
        return 1 + max(len(content) - 1, 0) + sum(map(values, content))
    return 0


def random_text(random_: random.Random) -> str:
    return "".join(random_.choices(LETTERS, k=random_.randrange(12)))


def random_content(random_: random.Random, depth: int = 3) -> Any:
    kind = random_.randrange(4) if depth else 0
    if kind == 1:
        return [random_content(random_, depth - 1) for _ in range(random_.randrange(4))]
    if kind == 2:
        return {random_text(random_): random_content(random_, depth - 1) for _ in range(random_.randrange(4))}
    return random_text(random_) if kind == 0 else random_.random()


@pytest.mark.parametrize("seed", range(60))
def test_values_are_counted_as_a_parser_finds_them_wherever_a_body_is_cut(seed: int) -> None:
    random_ = random.Random(seed)
    content = random_content(random_)
    for is_ascii in (True, False):
        body = json.dumps(content, ensure_ascii=is_ascii).encode()
        for piece_bytes in (1, 2, 3, 7, PIECE_BYTES):
            assert counted(body, piece_bytes) == values(content), (body, piece_bytes)


def test_many_lists_side_by_side_are_not_nested_deeply() -> None:
    JsonScanner(MAX_VALUES).feed(b"[" + b"[]," * 2000 + b"[]]", is_last=True)


@pytest.mark.parametrize(
    ("pieces", "position"),
    [([b'["\xff"]'], 2), ([b'["a', b'b\xff"]'], 4), ([b'["\xc3', b'a"]'], 2), ([b'["\xf0\x9f', b"\x98"], 2)],
    ids=["first piece", "second piece", "character cut by another", "character cut by the end"],
)
def test_an_error_names_the_place_of_a_byte_that_is_not_utf8(pieces: list[bytes], position: int) -> None:
    scanner = JsonScanner(100)
    for piece in pieces[:-1]:
        scanner.feed(piece)

    with pytest.raises(MalformedBody, match=f"at byte {position}$"):
        scanner.feed(pieces[-1], is_last=True)


@pytest.mark.parametrize(
    "unit", [b"a", b"\\n", b'\\"', b"\\\\", b"\\u00e4", "ä".encode(), b'"', b'","', b"[],", b"[", b"{}"]
)
def test_no_piece_holds_the_interpreter_for_long(unit: bytes) -> None:
    piece = (unit * PIECE_BYTES)[:PIECE_BYTES]

    def scan() -> None:
        with contextlib.suppress(BodyTooComplex, MalformedBody):
            JsonScanner(MAX_VALUES).feed(piece)

    # A scan takes about 1 ms at most. The bound is for a busy machine.
    assert cpu_seconds(scan) < 0.02
