"""Clients with good requests, who ask all the time while something else happens to the service."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.good import REQUESTS, said
from tests.service.client import Service


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
