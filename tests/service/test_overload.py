"""Too many requests at once, and requests with a deadline or a priority of their own, in every dialect."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service, eventually
from tests.service.conftest import running_service

GREETING = {"text": "Good morning."}
SENTENCES = {"text": ["The old man walks along the river and looks at the birds."] * 4}
# Clients at once, many more than a queue of 64 rows takes.
CROWD = 100
ARTICLE = "Engineers found deep cracks in two pillars of the old stone bridge over the river Arden in March. " * 8
TEXT = "The old man walks along the river and looks at the birds. " * 40
DEADLINE = "X-Request-Deadline-Ms"
PRIORITY = "X-Request-Priority"
COMPARE = "/compare?task=translation&variant=original&variant=quantized"
# Requests that take seconds, by dialect or kind.
SLOW: dict[str, tuple[str, dict[str, Any]]] = {
    "translate": ("/translate", {"text": [TEXT] * 16, "num_beams": 16}),
    "summarize": ("/summarize", {"text": [TEXT] * 16, "num_beams": 16, "min_new_tokens": 100}),
    "map_reduce": ("/summarize", {"text": TEXT * 200, "num_beams": 16, "long_input": "map_reduce"}),
    "Hugging Face": (
        "/huggingface/translate",
        {"inputs": [TEXT] * 16, "parameters": {"generate_parameters": {"num_beams": 16}}},
    ),
    "LibreTranslate": ("/libretranslate/translate", {"q": [TEXT] * 64, "source": "en", "target": "de"}),
}
QUICK: dict[str, tuple[str, dict[str, Any]]] = {
    "translate": ("/translate", {"text": "Good morning."}),
    "summarize": ("/summarize", {"text": TEXT}),
    "compare": (COMPARE, {"text": "Good morning."}),
    "Hugging Face": ("/huggingface/translate", {"inputs": "Good morning."}),
    "LibreTranslate": ("/libretranslate/translate", {"q": "Good morning.", "source": "en", "target": "de"}),
}


def test_a_crowd_that_honours_retry_after_gets_answers_refusals_and_deadlines_and_nothing_else(log: Path) -> None:
    statuses = Counter[int]()
    deadline = {DEADLINE: "5000"}

    def ask_again_and_again(service: Service, until: float) -> None:
        while time.monotonic() < until:
            answer = service.post("/translate", SENTENCES, deadline)
            statuses[answer.status] += 1
            if answer.status == 429:
                assert int(answer.headers["retry-after"]) >= 1
                assert "rows waiting" in answer.problem.detail
            time.sleep(min(float(answer.headers.get("retry-after", 0)), max(until - time.monotonic(), 0)))

    with running_service(log, queue_rows=64) as service:
        until = time.monotonic() + 6
        with ThreadPoolExecutor(CROWD) as threads:
            list(threads.map(lambda _: ask_again_and_again(service, until), range(CROWD)))
        later = service.post("/translate", GREETING)

    assert set(statuses) <= {200, 429, 504}
    assert statuses[200]
    assert statuses[429]
    assert later.status == 200


def test_a_word_is_answered_while_long_texts_of_others_wait(service: Service) -> None:
    def queued_rows() -> float:
        lines = service.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("slimseq_queue_rows{"))

    def ask_for_a_word() -> tuple[float, int, float]:
        before = eventually(queued_rows, lambda rows: rows >= 100, 20)
        status = service.post("/summarize", {"text": "Bridge", "max_new_tokens": 4}).status
        return before, status, queued_rows()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(service.post, "/summarize", {"text": [ARTICLE] * 64, "max_new_tokens": 24})
        before, status, after = ask_for_a_word()

    assert status == 200
    assert before >= 100
    # When the word is answered, most rows that were there before it still wait.
    assert after > before / 2


@pytest.mark.parametrize("kind", SLOW)
def test_a_request_is_answered_with_504_soon_after_its_own_deadline(service: Service, kind: str) -> None:
    path, body = SLOW[kind]
    started = time.monotonic()

    late = service.post(path, body, {DEADLINE: "200"})

    assert late.status == 504
    assert "deadline of 0.2 s" in late.text
    # A second after the deadline at most.
    assert time.monotonic() - started < 0.2 + 1
    assert service.post("/translate", {"text": "Good morning."}).status == 200


def test_a_comparison_has_the_variants_that_ended_before_the_deadline(service: Service) -> None:
    compared = service.post(COMPARE, SLOW["translate"][1], {DEADLINE: "200"})

    assert compared.status == 200
    assert [result["error"]["type"] for result in compared.json["results"]] == ["/problems/deadline-exceeded"] * 2


@pytest.mark.parametrize("kind", QUICK)
def test_a_request_with_time_enough_and_low_priority_is_answered_as_ever(service: Service, kind: str) -> None:
    path, body = QUICK[kind]

    answer = service.post(path, body, {DEADLINE: "60000", PRIORITY: "low"})

    assert answer.status == 200, answer.text


@pytest.mark.parametrize("kind", QUICK)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (DEADLINE, "0"),
        (DEADLINE, "-5"),
        (DEADLINE, "soon"),
        (DEADLINE, "1.5"),
        (DEADLINE, "1" * 20),
        (PRIORITY, "high"),
    ],
)
def test_a_wrong_deadline_or_priority_is_refused_by_name(service: Service, kind: str, name: str, value: str) -> None:
    path, body = QUICK[kind]

    refused = service.post(path, body, {name: value})

    assert refused.status == (400 if kind == "LibreTranslate" else 422)
    assert name in refused.text


def test_a_deadline_of_more_than_an_hour_is_refused(service: Service) -> None:
    # A deadline of an hour is accepted, and changes nothing. A longer one is refused.
    assert service.post("/translate", {"text": "Yes."}, {DEADLINE: "3600000"}).status == 200
    assert service.post("/translate", {"text": "Yes."}, {DEADLINE: "3600001"}).status == 422
