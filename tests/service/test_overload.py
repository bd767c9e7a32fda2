import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.service.client import Service
from tests.service.conftest import running_service

SLOW = {"text": ["The old man walks along the river and looks at the birds. " * 10] * 8, "num_beams": 16}
QUICK = {"text": "Good morning."}
SENTENCES = {"text": ["The old man walks along the river and looks at the birds."] * 4}
CROWD = 100
ARTICLE = "Engineers found deep cracks in two pillars of the old stone bridge over the river Arden in March. " * 8


def test_a_request_past_its_deadline_gets_a_504_and_stops_working(log: Path) -> None:
    with running_service(log, request_timeout_seconds=0.5) as service:
        service.post("/translate", QUICK)
        started = time.monotonic()

        late = service.post("/translate", SLOW)
        seconds = time.monotonic() - started
        streamed = service.post("/translate", {**SLOW, "stream": True})
        after = service.post("/translate", QUICK)

    assert late.status == 504 and "0.5 s" in late.problem.detail and seconds < 2
    assert streamed.status == 504 or streamed.events[-1][0] == "error"
    assert after.status == 200


def test_a_crowd_that_honours_retry_after_gets_answers_refusals_and_deadlines_and_nothing_else(log: Path) -> None:
    statuses = Counter[int]()
    deadline = {"X-Request-Deadline-Ms": "5000"}

    def ask_again_and_again(service: Service, until: float) -> None:
        while time.monotonic() < until:
            answer = service.post("/translate", SENTENCES, deadline)
            statuses[answer.status] += 1
            if answer.status == 429:
                assert int(answer.headers["retry-after"]) >= 1 and "rows waiting" in answer.problem.detail
            time.sleep(min(float(answer.headers.get("retry-after", 0)), max(until - time.monotonic(), 0)))

    with running_service(log, queue_rows=64) as service:
        until = time.monotonic() + 6
        with ThreadPoolExecutor(CROWD) as threads:
            list(threads.map(lambda _: ask_again_and_again(service, until), range(CROWD)))
        later = service.post("/translate", QUICK)

    assert set(statuses) <= {200, 429, 504} and statuses[200] and statuses[429]
    assert later.status == 200


def test_a_word_is_answered_while_long_texts_of_others_wait(service: Service) -> None:
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

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(service.post, "/summarize", {"text": [ARTICLE] * 64, "max_new_tokens": 24})
        before, status, after = ask_for_a_word()

    assert status == 200 and before >= 100
    # Most of what was there before it is still waiting when it has its answer.
    assert after > before / 2
