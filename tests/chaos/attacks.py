"""Attacks: what they send is refused or takes a while, and good requests beside them are answered as ever.

Each yields what should never be, whatever else the service does meanwhile. `storm` looks at the rest.
"""

import contextlib
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from slimseq.models_store.manifest import digest_of
from tests.chaos.good import ARTICLE
from tests.chaos.target import Target, together

Attack = Callable[[Target], Iterator[str]]

MEGABYTE = 1_000_000
MILLION = 1_000_000
CHUNK = b"x" * 65_536
# A body of the largest size, what the service reads of it after its answer, and what the buffers of the system hold.
MOST_TAKEN_BYTES = 48 * MEGABYTE
WORDS = ["bridge", "river", "council", "repair", "pillar", "engineer", "market", "crossing", "motorway", "winter"]
# The service looks at its store anew after a second.
FRESH_SECONDS = 1.5
HEAD = b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = b"%x\r\n" % len(CHUNK) + CHUNK + b"\r\n"


def texts_that_take_long(target: Target) -> Iterator[str]:
    """Sends texts that take a tokenizer seconds, documents of a million characters, and many long texts."""
    sentence = "The engineers found cracks in the old stone bridge. "
    document = {"text": sentence * (MILLION // len(sentence)), "long_input": "map_reduce"}
    post = target.service.post
    calls = [
        *(partial(post, "/translate", {"text": text}) for text in ("a" * MILLION, "e\u0301" * (MILLION // 2))),
        *[partial(post, "/summarize", document)] * 3,
        *[partial(post, "/summarize", {"text": [ARTICLE * 6] * 64})] * 8,
    ]
    together(calls)
    yield from ()


def bodies_of_too_many_values(target: Target) -> Iterator[str]:
    """Posts two million pairs that are none, and 600,000 keys that nobody knows."""
    pairs = b'{"task":"translation","variants":["original"],"pairs":[' + b"1," * 2_000_000 + b"1]}"
    keys = b'{"text":"Hi."' + b"".join(b',"k%d":1' % number for number in range(600_000)) + b"}"
    for path, body in (("/evaluations", pairs), ("/translate", keys)):
        answer = target.service.send("POST", path, body, {"Content-Type": "application/json"})
        if answer.status not in (413, 422, 429):
            yield f"{path}: {answer.status}"


def evaluations_without_sense(target: Target) -> Iterator[str]:
    """Evaluates a pair of 25,000 words, deletes an evaluation that runs, and posts and deletes forty of 7.5 MB."""
    words = " ".join(WORDS[number % len(WORDS)] + str(number % 997) for number in range(25_000))
    large = {"source": "word " * 1500, "target": "Wort " * 1500}
    wanted: list[tuple[dict[str, Any], float]] = [
        ({"task": "summarization", "pairs": [{"document": words, "summary": words}]}, 4),
        ({"task": "summarization", "pairs": [{"document": words[:40_000], "summary": words[:12_000]}] * 20}, 4),
        *[({"task": "translation", "pairs": [large] * 500}, 0.0)] * 40,
    ]
    for body, seconds in wanted:
        posted = target.service.post("/evaluations", {"variants": ["quantized"], **body})
        if posted.status == 202:
            time.sleep(seconds)
            target.service.delete(f"/evaluations/{posted.json['id']}")
        elif posted.status not in (422, 429, 503):
            yield f"an evaluation: {posted.status}"


def manifests_that_lie(target: Target) -> Iterator[str]:
    """Serves variants whose manifest lists no file, or is of another name or task, and a link out of the store."""
    task, outside = target.store / "translation", target.store.parent / "outside"
    lies: dict[str, dict[str, Any]] = {
        "empty": {"files": [], "digest": digest_of([])},
        "other-name": {"variant": "original"},
        "other-task": {"task": "summarization"},
    }
    for name, lie in lies.items():
        _copy(task / "original", task / name, {"variant": name, **lie})
    _copy(task / "original", outside, {"variant": "linked"})
    (task / "linked").symlink_to(outside)
    time.sleep(FRESH_SECONDS)
    try:
        for name in (*lies, "linked"):
            answer = target.service.post(f"/translate?variant={name}", {"text": "Good morning."})
            if answer.status == 200:
                yield f"{name} is served"
    finally:
        (task / "linked").unlink()
        for path in (*(task / name for name in lies), outside):
            shutil.rmtree(path, ignore_errors=True)
        time.sleep(FRESH_SECONDS)


def _copy(original: Path, folder: Path, changes: dict[str, Any]) -> None:
    shutil.copytree(original, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def requests_without_end(target: Target) -> Iterator[str]:
    """Sends bodies and a header without end, and goes on after the answer."""
    endless = {
        "a chunked POST": (b"POST /translate" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n", CHUNKED),
        "a chunked GET": (b"GET /healthz" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n", CHUNKED),
        "a GET with a length": (b"GET /healthz" + HEAD + b"Content-Length: 100000000000\r\n\r\n", CHUNK),
        "a header": (b"GET /healthz" + HEAD + b"X-Long: ", CHUNK),
    }
    for name, (head, piece) in endless.items():
        taken, deadline = 0, time.monotonic() + 10
        line, _, rest = head.partition(b"\r\n")
        keys = b"".join(f"{key}: {value}\r\n".encode() for key, value in target.service.headers.items())
        connection = socket.create_connection(("127.0.0.1", target.service.port), timeout=2)
        with connection, contextlib.suppress(OSError):
            connection.sendall(line + b"\r\n" + keys + rest)
            while taken < 400 * MEGABYTE and time.monotonic() < deadline:
                taken += connection.send(piece)
        if taken > MOST_TAKEN_BYTES:
            yield f"{name}: {taken / MEGABYTE:.0f} MB were read"


# Those that take no time are a part of `make test`.
SHORT_ATTACKS: tuple[Attack, ...] = (bodies_of_too_many_values, manifests_that_lie, requests_without_end)
ATTACKS: tuple[Attack, ...] = (
    *SHORT_ATTACKS,
    texts_that_take_long,
    evaluations_without_sense,
)
