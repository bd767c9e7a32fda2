import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.loads.load import make_requests
from benchmarks.overload import EXPECTED, crowd
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.service.client import Response, Service
from tests.service.conftest import running_service

SLOW = {"text": ["The old man walks along the river and looks at the birds. " * 10] * 8, "num_beams": 16}
QUICK = {"text": "Good morning."}


def test_a_full_queue_refuses_with_retry_after_and_serves_again_later(embedded: Store, log: Path) -> None:
    with running_service(log, store=embedded.root, queue_rows=80) as service:
        service.wait_until_ready()
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: service.post("/translate", {**SLOW, "num_beams": 4}), range(4)))
        later = service.post("/translate", QUICK)

    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers} == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert "rows waiting" in refused[0].problem.detail
    assert later.status == 200


def test_a_request_past_its_deadline_gets_a_504_and_stops_working(embedded: Store, log: Path) -> None:
    with running_service(log, store=embedded.root, request_timeout_seconds=0.5) as service:
        service.wait_until_ready()
        service.post("/translate", QUICK)
        started = time.monotonic()

        late = service.post("/translate", SLOW)
        seconds = time.monotonic() - started
        streamed = service.post("/translate", {**SLOW, "stream": True})
        after = service.post("/translate", QUICK)

    assert late.status == 504 and "0.5 s" in late.problem.detail and seconds < 2
    assert streamed.status == 504 or streamed.events[-1][0] == "error"
    assert after.status == 200


def test_a_crowd_that_honours_retry_after_gets_answers_refusals_and_deadlines_and_nothing_else(
    embedded: Store, log: Path
) -> None:
    requests = make_requests(embedded.manifest(Task.TRANSLATION, "quantized"))
    with running_service(log, store=embedded.root, queue_rows=64) as service:
        service.wait_until_ready()
        load = crowd(service.port, "/translate", requests, clients=200, seconds=6, deadline_seconds=5)
        found = asyncio.run(load)
        later = service.post("/translate", QUICK)

    assert set(found.statuses) <= EXPECTED and found.statuses["200"] > 0
    assert later.status == 200


def test_a_stop_lets_a_running_request_end(embedded: Store, log: Path) -> None:
    answers: list[Response] = []

    def ask(service: Service) -> None:
        answers.append(
            service.post("/translate", {"text": ["The old man walks along the river."] * 16, "num_beams": 8})
        )

    with running_service(log, store=embedded.root) as service:
        service.wait_until_ready()
        asking = threading.Thread(target=ask, args=(service,))
        asking.start()
        time.sleep(0.2)
    asking.join()

    assert [answer.status for answer in answers] == [200]
