import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from slimseq.models_store.store import Store
from tests.chaos.attack_generation import a_variant_named_twice, options_that_mean_nothing
from tests.chaos.company import in_company, together
from tests.chaos.good import alone
from tests.chaos.target import Target
from tests.service.client import Service
from tests.service.conftest import running_service

ARTICLE = "Engineers found deep cracks in two pillars of the old stone bridge over the river Arden in March. " * 8


@pytest.fixture
def target(embedded: Store, tmp_path: Path) -> Iterator[Target]:
    with running_service(tmp_path / "log", store=embedded.root) as service:
        service.wait_until_ready()
        yield Target(service, embedded.root, tmp_path / "log", psutil.Process(service.pid), {})


def test_good_answers_are_the_same_whatever_others_send(target: Target) -> None:
    expected = alone(target.service)

    with in_company(target.service, expected) as company:
        complaints = [*options_that_mean_nothing(target), *a_variant_named_twice(target)]
        sent = together([lambda: long_texts(target.service), lambda: a_million_characters(target.service)] * 2)

    assert not complaints
    assert set(sent) == {200}
    assert company.answers >= len(expected) and company.differences == []


def long_texts(service: Service) -> int:
    return service.post("/summarize", {"text": [ARTICLE] * 8, "max_new_tokens": 24}).status


def a_million_characters(service: Service) -> int:
    return service.post("/translate", {"text": "a" * 1_000_000, "num_beams": 1}).status


def test_a_word_is_answered_while_long_texts_of_others_wait(target: Target) -> None:
    service = target.service

    def queued_rows() -> float:
        lines = service.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("slimseq_queue_rows{"))

    def ask_for_a_word() -> tuple[float, int, float]:
        until = time.monotonic() + 20
        while queued_rows() < 100 and time.monotonic() < until:
            time.sleep(0.05)
        before = queued_rows()
        status = service.post("/summarize", {"text": "Bridge", "max_new_tokens": 4}).status
        return before, status, queued_rows()

    *_, (before, status, after) = together([*[lambda: many_long_texts(service)] * 4, ask_for_a_word])

    assert status == 200 and before >= 100
    # Most of what was there before it is still waiting when it has its answer.
    assert after > before / 2


def many_long_texts(service: Service) -> int:
    return service.post("/summarize", {"text": [ARTICLE] * 64, "max_new_tokens": 24}).status
