"""SIGTERM while clients keep asking: nobody's connection is reset, and the process ends in time with exit code 0.

`STOPS=50 pytest tests/service/test_stopping_under_load.py` stops the service so many times in each kind of work.
"""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service
from tests.service.stopping import DOCUMENT, SENTENCE, ends_cleanly, stopping

STOPS = int(os.environ.get("STOPS", "1"))
CLIENTS = 40
QUICK = {"text": "Good morning.", "num_beams": 1}
STREAM = {"text": [SENTENCE] * 2, "num_beams": 1, "stream": True}
TRANSLATION = {"text": [SENTENCE] * 4, "num_beams": 4}


class Clients:
    """Clients that send one request after the other on connections that they keep, until the service is gone."""

    def __init__(self, service: Service, clients: int, path: str, body: dict[str, Any]) -> None:
        self.outcomes = Counter[str]()
        self._port = service.port
        self._path = path
        self._body = json.dumps(body).encode()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while True:
            try:
                connection.request("POST", self._path, self._body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                is_cut = b"/problems/shutting-down" in text and answer.status == 200
                self.outcomes["cut stream" if is_cut else str(answer.status)] += 1
            except ConnectionRefusedError:
                return
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[type(error).__name__] += 1
                return

    def end(self) -> Counter[str]:
        """Waits for their end; counts how their requests ended."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        return self.outcomes


@pytest.mark.parametrize("drain", [0, 1])
def test_no_kept_connection_is_reset_where_the_last_answer_was_a_stream(log: Path, drain: float) -> None:
    with stopping(log, shutdown_grace_seconds=30, drain_seconds=drain) as service:
        clients = Clients(service, CLIENTS, "/translate", STREAM)
        time.sleep(2)
        service.stop()
        outcomes = clients.end()

    assert service.process.poll() == 0
    assert set(outcomes) == {"200"}
    assert outcomes["200"] > CLIENTS


def test_while_the_service_drains_it_is_not_ready_and_answers_everything(log: Path) -> None:
    with stopping(log, drain_seconds=4) as service:
        before = service.get("/readyz")
        stopped = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        probe, alive, answer = service.get("/readyz"), service.get("/healthz"), service.post("/translate", QUICK)
        later = time.monotonic() - stopped
        service.process.wait(timeout=60)
        seconds = time.monotonic() - stopped

    assert before.status == 200
    assert later < 4
    assert probe.status == 503
    assert probe.problem.type == "/problems/shutting-down"
    assert alive.status == answer.status == 200
    assert {each.headers["connection"] for each in (probe, alive, answer)} == {"close"}
    assert service.process.poll() == 0
    assert seconds >= 4


@pytest.mark.parametrize("stop", range(STOPS))
@pytest.mark.parametrize(
    ("path", "body"), [("/translate", TRANSLATION), ("/summarize", DOCUMENT)], ids=["generating", "planning"]
)
def test_a_stop_under_load_answers_every_request(log: Path, path: str, body: dict[str, Any], stop: int) -> None:
    with stopping(log) as service:
        clients = Clients(service, 8, path, body)
        time.sleep(random.uniform(0.2, 2))
        seconds = service.stop()
        outcomes = clients.end()

    ends_cleanly(service, seconds)
    # The planner takes a few documents at a time.
    assert set(outcomes) <= {"200", "429", "503"}
    assert "Traceback" not in log.read_text()
