"""Clients with good requests, whose answers must stay the same byte for byte, whatever else the service is sent."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.service.client import Service

ARTICLE = (
    "Engineers found deep cracks in two pillars of the old stone bridge over the river Arden during an inspection in "
    "March. The city council of Millbrook voted on Tuesday to close it for eight months. About 6,000 cars cross the "
    "bridge every day, and drivers will have to use the motorway crossing four miles to the north. Repairs will cost "
    "4.2 million pounds, most of which the county will pay."
)
SENTENCES = "The children are playing in the garden. It is raining. We need more time to read the long report."
# Paths and bodies of good requests: both tasks, several runtimes and kinds of search, seeds, streams and comparisons.
REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/translate", {"text": SENTENCES}),
    ("/translate?variant=original", {"text": "A man in a blue shirt is standing on a ladder.", "num_beams": 1}),
    ("/translate?variant=compact", {"text": [SENTENCES, "Good morning."]}),
    ("/translate", {"text": SENTENCES, "do_sample": True, "top_p": 0.9, "temperature": 0.8, "seed": 7}),
    ("/translate?variant=quantized", {"text": SENTENCES, "stream": True}),
    ("/summarize", {"text": ARTICLE}),
    ("/summarize?variant=compact", {"text": ARTICLE, "num_beams": 1, "max_new_tokens": 40}),
    ("/summarize", {"text": ARTICLE, "do_sample": True, "top_k": 20, "seed": 11, "max_new_tokens": 30}),
)


def said(service: Service, path: str, body: dict[str, Any]) -> Any:
    """Returns what an answer says that may not change: outputs and digest, and a stream's pieces put together."""
    answer = service.post(path, body)
    if answer.status != 200:
        return f"{answer.status}: {answer.text[:300]}"
    if body.get("stream"):
        pieces = "".join(data["text"] for name, data in answer.events if name == "token")
        return pieces, _kept(answer.events[-1][1])
    return _kept(answer.json)


def _kept(answer: dict[str, Any]) -> Any:
    return answer.get("outputs"), answer.get("digest"), answer.get("runtime")


@dataclass
class Company:
    """What the clients have seen."""

    answers: int = 0
    seconds: list[float] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


@contextmanager
def in_company(service: Service, expected: dict[int, Any], clients: int = 8) -> Iterator[Company]:
    """Has clients ask good requests all the time until the block ends, and compares each answer."""
    company, has_ended, lock = Company(), threading.Event(), threading.Lock()

    def ask(first: int) -> None:
        for number in itertools.cycle([*range(first, len(REQUESTS)), *range(first)]):
            if has_ended.is_set():
                return
            started = time.perf_counter()
            try:
                found: Any = said(service, *REQUESTS[number])
            except OSError as error:
                found = f"{type(error).__name__}: {error}"
            with lock:
                company.answers += 1
                company.seconds.append(time.perf_counter() - started)
                if found != expected[number]:
                    company.differences.append(f"{REQUESTS[number][0]}: {found} instead of {expected[number]}")

    threads = [threading.Thread(target=ask, args=(number % len(REQUESTS),)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield company
    finally:
        has_ended.set()
        for thread in threads:
            thread.join()


def alone(service: Service) -> dict[int, Any]:
    """Returns the answer to each request while nothing else runs."""
    return {number: said(service, *request) for number, request in enumerate(REQUESTS)}


def together(calls: list[Callable[[], Any]]) -> list[Any]:
    """Runs calls at once, and returns what each gave, an exception too."""
    found: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            found[number] = calls[number]()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
