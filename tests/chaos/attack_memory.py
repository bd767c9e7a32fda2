"""What should come back: memory after bursts, after unloading from many sides, and after evaluations were ended."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.chaos.company import together
from tests.chaos.good import ARTICLE
from tests.chaos.target import Target, watching

MEGABYTE = 1_000_000
LIMIT_BYTES = 1_500 * MEGABYTE
WORDS = ["bridge", "river", "council", "repair", "pillar", "engineer", "market", "crossing", "motorway", "winter"]


def _words(count: int) -> str:
    return " ".join(WORDS[number % len(WORDS)] + str(number % 997) for number in range(count))


def bodies_of_too_many_values(target: Target) -> Iterator[str]:
    """Posts two million pairs that are none, and 600,000 keys that nobody knows."""
    pairs = b'{"task":"translation","variants":["original"],"pairs":[' + b"1," * 2_000_000 + b"1]}"
    keys = b'{"text":"Hi."' + b"".join(b',"k%d":1' % number for number in range(600_000)) + b"}"
    with watching(target) as watch:
        for path, body in (("/evaluations", pairs), ("/translate", keys)):
            answer = target.service.send("POST", path, body, {"Content-Type": "application/json"})
            if answer.status not in (413, 422):
                yield f"{path}: {answer.status}"
    yield from _bounds(watch.peak_bytes, watch.longest_probe, 1.0)


def a_pair_of_very_many_words(target: Target) -> Iterator[str]:
    """Evaluates one pair of 25,000 words without a full stop."""
    words = _words(25_000)
    body = {
        "task": "summarization",
        "variants": ["quantized"],
        "pairs": [{"document": words, "summary": words}],
    }
    with watching(target) as watch:
        answer = target.service.post("/evaluations", body)
        if answer.status == 202:
            status = _ended(target, answer.json["id"])
            if status["status"] != "succeeded":
                yield f"the evaluation ended {status['status']}: {status.get('error')}"
        elif answer.status != 422:
            yield f"answered {answer.status}"
    yield from _bounds(watch.peak_bytes, watch.longest_probe, 1.0)


def an_evaluation_that_is_cancelled(target: Target) -> Iterator[str]:
    """Deletes an evaluation of 20 pairs of 6,000 words while it runs."""
    pairs = [{"document": _words(6000), "summary": _words(6000)} for _ in range(20)]
    body = {"task": "summarization", "variants": ["quantized"], "pairs": pairs}
    posted = target.service.post("/evaluations", body)
    if posted.status != 202:
        yield f"answered {posted.status}"
        return
    time.sleep(4)
    target.service.delete(f"/evaluations/{posted.json['id']}")
    if (status := _ended(target, posted.json["id"])["status"]) != "cancelled":
        yield f"ended {status}"
    if (busy := target.cpu_seconds(2)) > 0.5:
        yield f"{busy:.1f} s of CPU in the two seconds after it was cancelled"


def evaluations_posted_and_deleted(target: Target) -> Iterator[str]:
    """Posts and deletes forty evaluations of 7.5 MB."""
    pair = {"source": "word " * 1500, "target": "Wort " * 1500}
    body = {"task": "translation", "variants": ["quantized"], "pairs": [pair] * 500}
    before = target.resident_bytes
    for _ in range(40):
        posted = target.service.post("/evaluations", body)
        if posted.status == 202:
            target.service.delete(f"/evaluations/{posted.json['id']}")
        elif posted.status not in (422, 429):
            yield f"answered {posted.status}"
    yield from _falls_back(target, before)


def unloads_at_once(target: Target) -> Iterator[str]:
    """Unloads a variant that is open on two runtimes from four sides, under traffic."""
    service, admin = target.service, target.admin
    path = "/variants/translation/distilled"

    def load_and_unload() -> list[int]:
        statuses = []
        for number in range(6):
            runtime = ("onnxruntime", "ctranslate2")[number % 2]
            statuses.append(service.send("POST", f"{path}/load?runtime={runtime}", headers=admin).status)
            statuses.append(service.send("POST", f"{path}/unload", headers=admin).status)
        return statuses

    def ask() -> list[int]:
        body = {"text": "Good morning."}
        return [service.post("/translate?variant=distilled", body).status for _ in range(20)]

    before = target.resident_bytes
    found = together([*[load_and_unload] * 4, *[ask] * 4])
    bad = [status for each in found for status in (each if isinstance(each, list) else [each])]
    bad = [status for status in bad if status not in (200, 409, 422)]
    if bad:
        yield f"answers {sorted(set(map(str, bad)))}"
    deadline = time.monotonic() + 10
    while service.send("POST", f"{path}/unload", headers=admin).status == 409 and time.monotonic() < deadline:
        time.sleep(0.2)
    open_now = [each["variant"] for each in service.get("/memory").json["variants"]]
    if "distilled" in open_now:
        yield "it is still open"
    yield from _falls_back(target, before)


def long_texts_for_a_while(target: Target) -> Iterator[str]:
    """Summarizes and translates long texts by sixteen for half a minute, and waits a minute."""
    service = target.service
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/summarize", {"text": [ARTICLE * 6] * 16}),
        ("/translate", {"text": [ARTICLE] * 16}),
    ]
    for path, body in bodies:
        service.post(path, body)
    time.sleep(20)
    before = target.resident_bytes
    until = time.monotonic() + 30

    def ask(path: str, body: dict[str, Any]) -> None:
        while time.monotonic() < until:
            service.post(path, body)

    together([partial(ask, *each) for each in bodies * 8])
    yield from _falls_back(target, before, share=1.1, spare=0)


def _ended(target: Target, identifier: str, seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        found = target.service.get(f"/evaluations/{identifier}").json
        if found["status"] not in ("queued", "running") or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _falls_back(
    target: Target, before: int, share: float = 1.1, spare: int = 30 * MEGABYTE, seconds: float = 60
) -> Iterator[str]:
    deadline = time.monotonic() + seconds
    while (now := target.resident_bytes) > before * share + spare and time.monotonic() < deadline:
        time.sleep(1)
    if now > before * share + spare:
        yield f"{now / MEGABYTE:.0f} MB a minute later, {before / MEGABYTE:.0f} before"


def _bounds(peak_bytes: int, longest_probe: float, seconds: float) -> Iterator[str]:
    if peak_bytes > LIMIT_BYTES:
        yield f"it took {peak_bytes / MEGABYTE:.0f} MB"
    if longest_probe > seconds:
        yield f"/healthz took {longest_probe * 1000:.0f} ms"
