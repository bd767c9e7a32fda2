"""Requests that ask too much of a generation: options at the edge of numbers, texts and queues without end."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.chaos.company import in_company, together
from tests.chaos.good import ARTICLE, alone
from tests.chaos.target import Target, watching

SHORT_SECONDS = 5.0
# What a probe may wait on a machine whose cores are all busy; the event loop itself is never held for 50 ms.
PROBE_SECONDS = 0.5
MILLION = 1_000_000
SENTENCE = "The engineers found cracks in the old stone bridge. "


def refused(target: Target, path: str, bodies: list[dict[str, Any]], status: int = 422) -> Iterator[str]:
    """Says which bodies are answered otherwise than with a status."""
    for body in bodies:
        answer = target.service.post(path, body)
        if answer.status != status:
            yield f"{path} {body}: {answer.status} {answer.text[:120]}"


def sampling_at_the_edge_of_numbers(target: Target) -> Iterator[str]:
    """Asks for shares and temperatures near zero, 21 times in five seconds, while others ask for good things."""
    bad = [
        {"text": "Hi.", "do_sample": True, "top_p": 1e-320},
        {"text": "Hi.", "do_sample": True, "temperature": 1e-300, "top_p": 0.9},
        {"text": "Hi.", "do_sample": True, "repetition_penalty": 1e-300, "top_p": 0.9},
    ]
    expected = alone(target.service)
    with in_company(target.service, expected) as company:
        for number in range(21):
            yield from refused(target, "/translate", [bad[number % 3]])
            time.sleep(SHORT_SECONDS / 21)
    if company.differences:
        yield f"{len(company.differences)} of {company.answers} good answers differ: {company.differences[0]}"


def options_that_mean_nothing(target: Target) -> Iterator[str]:
    """Asks for options beyond the model, or so small that nothing sensible follows."""
    bodies = [
        {"text": "Hi.", "do_sample": True, "top_k": 50_000},
        {"text": "Hi.", "repetition_penalty": 1e-300},
        {"text": "Hi.", "repetition_penalty": 1e-38},
        {"text": "Hi.", "do_sample": True, "temperature": 1e-38},
    ]
    for variant in ("quantized", "compact"):
        yield from refused(target, f"/translate?variant={variant}", bodies)
    beyond = {"text": "Hi.", "do_sample": True, "top_k": 5000}
    yield from refused(target, "/translate?variant=compact", [beyond])


def a_variant_named_twice(target: Target) -> Iterator[str]:
    """Names two variants where one answers."""
    yield from refused(target, "/translate?variant=original&variant=quantized", [{"text": "Hi."}])


def a_million_characters(target: Target) -> Iterator[str]:
    """Sends texts that take a tokenizer seconds."""
    texts = ("a" * MILLION, "e\u0301" * (MILLION // 2), "\U0001f468\u200d" * (MILLION // 2))
    with watching(target) as watch:
        statuses = together([partial(_status, target, text) for text in texts])
    if any(status not in (200, 413, 422) for status in statuses):
        yield f"answers {statuses}"
    yield from _probes(watch.longest_probe)


def documents_without_end(target: Target) -> Iterator[str]:
    """Summarizes six documents of a million characters in parts, with and without a prefix that fills the window."""
    text = SENTENCE * (MILLION // len(SENTENCE))
    long_prefix = {"text": text, "long_input": "map_reduce", "prefix": "word " * 199}
    yield from refused(target, "/summarize", [long_prefix, {**long_prefix, "long_input": "truncate"}])
    body = {"text": text, "long_input": "map_reduce"}
    waits: list[float] = []
    with watching(target) as watch:

        def ask_shortly() -> None:
            for _ in range(20):
                started = time.perf_counter()
                target.service.post("/summarize", {"text": "Hi.", "max_new_tokens": 8})
                waits.append(time.perf_counter() - started)

        calls = [lambda: target.service.post("/summarize", body).status for _ in range(6)]
        statuses = together([*calls, ask_shortly])[:-1]
    if any(status not in (200, 429, 504) for status in statuses):
        yield f"answers {statuses}"
    if max(waits) > 1.8:
        yield f"a short request waited {max(waits):.1f} s"
    yield from _probes(watch.longest_probe)
    if (busy := target.cpu_seconds(2)) > 1:
        yield f"{busy:.1f} s of CPU in the two seconds after the last answer"


def a_queue_full_of_long_texts(target: Target) -> Iterator[str]:
    """Queues 30 requests of 64 long texts each, and then asks for one word."""
    body = {"text": [ARTICLE * 2] * 64}
    waits: list[float] = []

    def ask_for_a_word() -> None:
        time.sleep(3)
        for _ in range(5):
            started = time.perf_counter()
            answer = target.service.post("/summarize", {"text": "Bridge", "max_new_tokens": 8})
            waits.append(time.perf_counter() - started if answer.status == 200 else float("inf"))

    calls = [lambda: target.service.post("/summarize", body).status for _ in range(30)]
    together([*calls, ask_for_a_word])
    if max(waits) > SHORT_SECONDS:
        yield f"the word waited {max(waits):.1f} s"


def _status(target: Target, text: str) -> int:
    return target.service.post("/translate", {"text": text}).status


def _probes(longest: float) -> Iterator[str]:
    if longest > PROBE_SECONDS:
        yield f"/healthz took {longest * 1000:.0f} ms"
