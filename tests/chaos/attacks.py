"""Attacks on the service: hostile texts, bodies, connections, and files in its store.

The service should refuse what an attack sends, or work on it while it answers others as ever. Each attack yields a line
for everything that should never happen to the attack itself. `storm.py` checks the answers to others.
"""

import contextlib
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from slimseq.models_store.manifest import digest_of
from tests.chaos.good import ARTICLE
from tests.chaos.target import Target, together
from tests.damage import add_panic
from tests.service.raw import connect

Attack = Callable[[Target], Iterator[str]]

MEGABYTE = 1_000_000
# Limit for small requests of others beside an attack.
ANSWERED_SECONDS = 5.0
# The service looks at its store anew after a second.
FRESH_SECONDS = 1.5


# Length of a text of the maximum size that a request may have.
LONG_CHARACTERS = 1_000_000


def texts_that_take_long(target: Target) -> Iterator[str]:
    """Sends texts that take a tokenizer seconds, documents of a million characters, and many long texts."""
    sentence = "The engineers found cracks in the old stone bridge. "
    document = {"text": sentence * (LONG_CHARACTERS // len(sentence)), "long_input": "map_reduce"}
    post = target.service.post
    calls = [
        partial(post, "/translate", {"text": "a" * LONG_CHARACTERS}),
        partial(post, "/translate", {"text": "e\u0301" * (LONG_CHARACTERS // 2)}),
        *[partial(post, "/summarize", document)] * 3,
        *[partial(post, "/summarize", {"text": [ARTICLE * 6] * 64})] * 8,
    ]
    # Any answer is right. The storm sees whether others wait for it.
    together(calls)
    yield from ()


# Characters of a repetition. A search that is quadratic takes half a minute for so many.
REPEATED_CHARACTERS = 99_990


def texts_that_repeat(target: Target) -> Iterator[str]:
    """Sends texts that made a regular expression quadratic in earlier versions, and small requests meanwhile."""
    spaces = " " * REPEATED_CHARACTERS
    attacks: list[tuple[str, dict[str, Any]]] = [
        ("/translate", {"text": f"a{spaces}b", "format": "markdown"}),
        ("/translate", {"text": f"It is late.{spaces}b"}),
        ("/translate", {"text": "a" + "\x0b\x85\u2028" * (REPEATED_CHARACTERS // 3) + "b"}),
        ("/translate", {"text": "1\u00ad" * (REPEATED_CHARACTERS // 2) + "b"}),
        ("/translate", {"text": "中" * REPEATED_CHARACTERS, "glossary": {"a word": "ein Wort"}}),
        ("/translate", {"text": "\ue000" * REPEATED_CHARACTERS + "b", "format": "html"}),
        ("/summarize", {"text": f"a{spaces}b"}),
        ("/summarize", {"text": f"a{spaces}b", "long_input": "map_reduce"}),
    ]
    for path, body in attacks:
        with ThreadPoolExecutor(1) as thread:
            attack = thread.submit(target.service.post, path, body)
            slowest_seconds = _slowest(target)
            answer = attack.result()
        # 422: the text has too many segments. 429: the queue is full. 504: it took too long.
        if answer.status not in (200, 422, 429, 504):
            yield f"{path} of {body['text'][:12]!a}…: {answer.status}"
        if slowest_seconds > ANSWERED_SECONDS:
            yield f"beside {path} of {body['text'][:12]!a}…: an answer after {slowest_seconds:.1f} s"


def _slowest(target: Target, requests: int = 10) -> float:
    """Returns how long the slowest of several small requests took, one after the other."""
    slowest = 0.0
    for _ in range(requests):
        started = time.monotonic()
        target.service.get("/healthz")
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.05)
    return slowest


def bodies_of_too_many_values(target: Target) -> Iterator[str]:
    """Posts two million numbers in the place of pairs, and 600,000 unknown keys."""
    pairs = b'{"task":"translation","variants":["original"],"pairs":[' + b"1," * 2_000_000 + b"1]}"
    keys = b'{"text":"Hi."' + b"".join(b',"k%d":1' % number for number in range(600_000)) + b"}"
    for path, body in (("/evaluations", pairs), ("/translate", keys)):
        answer = target.service.send("POST", path, body, {"Content-Type": "application/json"})
        # 413: the body is too large. 422: it has too many values. 429: the service is busy.
        if answer.status not in (413, 422, 429):
            yield f"{path}: {answer.status}"


class SenselessEvaluation(NamedTuple):
    """An evaluation to post, and the seconds after which it is deleted."""

    task: str
    pairs: list[dict[str, str]]
    seconds: float


WORDS = ["bridge", "river", "council", "repair", "pillar", "engineer", "market", "crossing", "motorway", "winter"]


def evaluations_without_sense(target: Target) -> Iterator[str]:
    """Posts a pair of 25,000 words, an evaluation that is deleted while it runs, and forty of 7.5 MB."""
    words = " ".join(WORDS[number % len(WORDS)] + str(number % 997) for number in range(25_000))
    large = {"source": "word " * 1500, "target": "Wort " * 1500}
    wanted = [
        SenselessEvaluation("summarization", [{"document": words, "summary": words}], seconds=4),
        SenselessEvaluation("summarization", [{"document": words[:40_000], "summary": words[:12_000]}] * 20, seconds=4),
        *[SenselessEvaluation("translation", [large] * 500, seconds=0)] * 40,
    ]
    for each in wanted:
        body = {"variants": ["quantized"], "task": each.task, "pairs": each.pairs}
        posted = target.service.post("/evaluations", body)
        if posted.status == 202:
            time.sleep(each.seconds)
            target.service.delete(f"/evaluations/{posted.json['id']}")
        # 422: the pairs are too large. 429: the queue of evaluations is full. 503: the database is busy for too long.
        elif posted.status not in (422, 429, 503):
            yield f"an evaluation: {posted.status}"


def manifests_that_lie(target: Target) -> Iterator[str]:
    """Adds variants whose manifest lists no file or has another name or task, and a link out of the store."""
    task = target.store / "translation"
    outside = target.store.parent / "outside"
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
    """Copies a variant's folder, and changes fields of its manifest."""
    shutil.copytree(original, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


# Limit for what the service reads of a request without an end: a body of the largest size, what it reads after its
# answer, and what the buffers of the system hold.
MOST_TAKEN_BYTES = 48 * MEGABYTE
# How much an attack sends of such a request, and for how long.
ENDLESS_BYTES = 400 * MEGABYTE
ENDLESS_SECONDS = 10
CHUNK = b"x" * 65_536
HEAD = b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = b"%x\r\n" % len(CHUNK) + CHUNK + b"\r\n"


def requests_without_end(target: Target) -> Iterator[str]:
    """Sends bodies and a header without end, and goes on after the answer."""
    # The start of each request, and the piece that follows it again and again.
    endless = {
        "a chunked POST": (b"POST /translate" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n", CHUNKED),
        "a chunked GET": (b"GET /healthz" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n", CHUNKED),
        "a GET with a length": (b"GET /healthz" + HEAD + b"Content-Length: 100000000000\r\n\r\n", CHUNK),
        "a header": (b"GET /healthz" + HEAD + b"X-Long: ", CHUNK),
    }
    for kind, (head, piece) in endless.items():
        taken = 0
        deadline = time.monotonic() + ENDLESS_SECONDS
        # The header with the client's key comes after the request line.
        request_line, _, rest = head.partition(b"\r\n")
        key = b"".join(f"{name}: {value}\r\n".encode() for name, value in target.service.headers.items())
        connection = socket.create_connection(("127.0.0.1", target.service.port), timeout=2)
        with connection, contextlib.suppress(OSError):
            connection.sendall(request_line + b"\r\n" + key + rest)
            while taken < ENDLESS_BYTES and time.monotonic() < deadline:
                taken += connection.send(piece)
        if taken > MOST_TAKEN_BYTES:
            yield f"{kind}: {taken / MEGABYTE:.0f} MB were read"


# A variant whose tokenizer panics, as a stranger may have made it, and a sentence that it fails on.
STRANGER = "stranger"
SENTENCE = "The old man walks along the river and looks at the birds in the garden."


def tokenizers_that_panic(target: Target) -> Iterator[str]:
    """Adds a variant whose tokenizer panics when it decodes an output, and asks for it."""
    folder = target.store / "translation" / STRANGER
    _copy(target.store / "translation" / "quantized", folder, {"variant": STRANGER})
    add_panic(folder)
    time.sleep(FRESH_SECONDS)
    try:
        calls = [partial(target.service.post, f"/translate?variant={STRANGER}", {"text": SENTENCE})] * 6
        for answer in together(calls):
            is_problem = answer.headers.get("content-type") == "application/problem+json"
            # 500: the panic itself. 503 and 429: the variant is loaded anew after two failures, and requests that come
            # meanwhile wait, or are told to retry.
            if answer.status not in (429, 500, 503) or not is_problem:
                yield f"a panic: {answer.status} {answer.text[:200]}"
        _unload(target, STRANGER)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(FRESH_SECONDS)


def _unload(target: Target, variant: str, seconds: float = 60) -> None:
    """Unloads a variant once no request uses it (409 until then)."""
    path = f"/variants/translation/{variant}/unload"
    deadline = time.monotonic() + seconds
    while target.service.send("POST", path, headers=target.admin).status == 409 and time.monotonic() < deadline:
        time.sleep(0.1)


# More than the service of `limited_target` has file descriptors.
SILENT_CONNECTIONS = 600


def connections_that_say_nothing(target: Target) -> Iterator[str]:
    """Opens more connections from one address than the service has file descriptors for."""
    with contextlib.ExitStack() as held:
        for _ in range(SILENT_CONNECTIONS):
            with contextlib.suppress(OSError):
                # Another address than that of the clients, who have connections of their own.
                held.enter_context(connect(target.service, seconds=5, address="127.0.0.2"))
        for _ in range(5):
            started = time.monotonic()
            answer = target.service.get("/healthz")
            seconds = time.monotonic() - started
            if answer.status != 200 or seconds > ANSWERED_SECONDS:
                yield f"beside silent connections: {answer.status} after {seconds:.1f} s"


# Attacks that take little time, which `make test` makes.
SHORT_ATTACKS: tuple[Attack, ...] = (
    bodies_of_too_many_values,
    connections_that_say_nothing,
    manifests_that_lie,
    requests_without_end,
    texts_that_repeat,
    tokenizers_that_panic,
)
ATTACKS: tuple[Attack, ...] = (
    *SHORT_ATTACKS,
    texts_that_take_long,
    evaluations_without_sense,
)
