"""What the service says about its latency and memory, against what is measured from outside of it."""

import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.loads.load import Client, Request, closed_loop
from slimseq.models_store.generation import GenerationOptions
from tests.service.client import Service
from tests.service.conftest import running_service

CLIENTS = 4
LOAD_SECONDS = 6.0
# Of tenths of a second, so that the way to the service and back is a small part.
LONG = Request("The old man walks along the river and looks at the birds. " * 12, GenerationOptions(num_beams=4))
OPENED = (("translate", "quantized"), ("translate", "original"), ("summarize", "quantized"), ("summarize", "original"))
# The service returns what requests needed when it has been idle for some seconds.
RETURNED_SECONDS = 30.0


def test_p95_of_the_service_is_that_of_the_load_generator(log: Path) -> None:
    with running_service(log) as service:
        client = Client(service.port, "/translate?runtime=onnxruntime&variant=quantized")

        outcomes = client.run(lambda send: closed_loop(send, [LONG], CLIENTS, LOAD_SECONDS))
        [reported] = service.get("/latency?task=translation&variant=quantized").json["latencies"]

    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert reported["count"] == len(outcomes) >= 2 * CLIENTS
    measured_ms = np.percentile([1000 * (outcome.ended - outcome.sent) for outcome in outcomes], [50, 95])
    assert [reported["total_ms"]["p50"], reported["total_ms"]["p95"]] == pytest.approx(measured_ms.tolist(), rel=0.05)


def test_the_parts_of_memory_add_up_to_that_of_the_process(log: Path) -> None:
    with running_service(log) as service:
        for task, variant in OPENED:
            answer = service.post(f"/{task}?runtime=onnxruntime&variant={variant}", {"text": [LONG.text] * 4})
            assert answer.status == 200

        added, process = settled(service)

    assert added == pytest.approx(process, rel=0.1)


def settled(service: Service) -> tuple[int, int]:
    """Returns the sum of `/memory` and the resident bytes of the process, once they are close or time is over."""
    ends = time.monotonic() + RETURNED_SECONDS
    while True:
        report = service.get("/memory").json
        added = report["base_resident_bytes"] + sum(each["resident_bytes"] for each in report["variants"])
        process = psutil.Process(service.pid).memory_info().rss
        if abs(added - process) < 0.1 * process or time.monotonic() > ends:
            assert len(report["variants"]) == len(OPENED)
            return added, process
        time.sleep(1)
