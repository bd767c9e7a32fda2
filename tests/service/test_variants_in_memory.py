"""Variants come into memory and leave it while the service runs: on demand, within a budget, by an operator's call."""

import platform
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.loads.load import Client, Request, closed_loop
from slimseq.app.serving.heap import THRESHOLD_BYTES
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.service.client import Service, eventually
from tests.service.conftest import needs_torch, running_service

OPERATOR = {"Authorization": "Bearer of tokens"}
GREETING = {"text": "Good morning."}


def status(service: Service, variant: str) -> str:
    found: str = service.get(f"/variants/translation/{variant}").json["status"]
    return found


def call(service: Service, variant: str, action: str, headers: dict[str, str] | None = None) -> int:
    """Loads or unloads a variant. Returns the status of the answer."""
    return service.send("POST", f"/variants/translation/{variant}/{action}", headers=headers).status


@needs_torch
def test_an_operator_loads_and_unloads(log: Path) -> None:
    with running_service(log, admin_token="of tokens", preload="translation/quantized") as service:
        assert call(service, "original", "load", OPERATOR) == 200
        assert status(service, "original") == "loaded"
        assert call(service, "original", "unload", OPERATOR) == 200
        assert status(service, "original") == "available"
        in_memory = [(each["task"], each["variant"]) for each in service.get("/memory").json["variants"]]
        assert ("translation", "original") not in in_memory
        assert service.post("/translate?variant=original", GREETING).status == 200
        loaded = service.send("POST", "/variants/translation/original/load?runtime=torch", headers=OPERATOR)
        assert loaded.status == 200
        assert loaded.json["runtime"] == "torch"
        assert call(service, "nope", "load", OPERATOR) == 404
        assert call(service, "original", "unload", {"Authorization": "Bearer of none"}) == 401


def test_memory_comes_back_when_a_variant_is_closed(log: Path) -> None:
    with running_service(log, admin_token="of tokens", preload="translation/quantized") as service:
        # The first round may keep memory for the libraries. The second one must give back what it takes.
        for _ in range(2):
            before = resident(service)
            call(service, "original", "load", OPERATOR)
            service.post("/translate?variant=original", {"text": [GREETING["text"]] * 16})
            opened = resident(service)
            assert call(service, "original", "unload", OPERATOR) == 200

        assert opened - before > 20_000_000
        assert resident(service) < before * 1.1


def test_without_a_token_nobody_loads_or_unloads(service: Service) -> None:
    refused = service.send("POST", "/variants/translation/quantized/unload", headers=OPERATOR)

    assert refused.status == 403
    assert "SLIMSEQ_ADMIN_TOKEN" in refused.problem.detail


def test_a_budget_holds_as_many_as_fit(embedded: Store, log: Path) -> None:
    onnx = embedded.folder(Task.TRANSLATION, "original") / "onnx"
    budget = 2 * sum(path.stat().st_size for path in onnx.iterdir())
    with running_service(log, max_resident_bytes=budget, preload="translation/original") as service:
        # The budget is twice the size of the files of ONNX Runtime, so the requests name that runtime.
        named = "runtime=onnxruntime&variant"
        answers = [service.post(f"/translate?{named}={name}", GREETING) for name in ("quantized", "original")]
        summary = service.post(f"/summarize?{named}=original", {"text": "The sun is shining on the town today."})

        assert [answer.status for answer in (*answers, summary)] == [200, 200, 200]
        report = service.get("/memory").json
        assert report["budget_bytes"] == budget
        assert report["evictions"] >= 1
        assert sum(each["resident_bytes"] for each in report["variants"]) <= budget
        assert "slimseq_evictions_total" in service.get("/metrics").text


def test_a_request_can_name_the_runtime(service: Service) -> None:
    answers = {
        runtime: service.post(f"/translate?variant=quantized&runtime={runtime}", GREETING)
        for runtime in ("auto", "onnxruntime", "ctranslate2", "abacus")
    }

    assert answers["onnxruntime"].json["runtime"] == "onnxruntime"
    assert answers["auto"].json["outputs"] == answers["onnxruntime"].json["outputs"]
    refused = answers["ctranslate2"]
    assert refused.status == 422
    assert refused.problem.type == "/problems/unfit-runtime"
    said = "no ctranslate2 files; it has no safetensors to make them from; onnxruntime can open it"
    assert said in refused.problem.detail
    assert answers["abacus"].status == 422


CLIENTS = 4
LOAD_SECONDS = 12.0
# A request that takes tenths of a second, so that the way to the service and back is a small part of its time.
LONG = Request("The old man walks along the river and looks at the birds. " * 12, GenerationOptions(num_beams=4))
OPENED = (("translate", "quantized"), ("translate", "original"), ("summarize", "quantized"), ("summarize", "original"))
# After some idle seconds the service gives the memory of requests back. This is longer.
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

        sizes = settled_sizes(service)

    assert are_close(*sizes), sizes


def are_close(added: int, process: int) -> bool:
    """Whether two sizes differ by at most a tenth, and the ends of two heaps, which the C library may keep."""
    return -0.1 * process < process - added < 0.1 * process + 2 * THRESHOLD_BYTES


def settled_sizes(service: Service) -> tuple[int, int]:
    """Returns the sum of the parts in `/memory`, and the resident bytes of the process.

    Waits until both are close, or until the time is over.
    """

    def look() -> tuple[int, int]:
        report = service.get("/memory").json
        assert len(report["variants"]) == len(OPENED)
        added = report["base_resident_bytes"] + sum(each["resident_bytes"] for each in report["variants"])
        return added, psutil.Process(service.pid).memory_info().rss

    return eventually(look, lambda sizes: are_close(*sizes), RETURNED_SECONDS)


ARTICLE = "The council met on Monday to discuss the new bridge across the river, and many people came to hear it. " * 40
BURST_SECONDS = 12
BURST_CLIENTS = 6
# Longer than the service waits after the last request before it gives memory back.
PAUSE_SECONDS = 12
PATHS = ("/summarize?variant=original", "/translate?variant=original&runtime=onnxruntime")


def resident(service: Service) -> int:
    """The resident bytes of the service's process."""
    found: int = service.get("/memory").json["process_resident_bytes"]
    return found


def burst(service: Service) -> int:
    """Sends long texts from many clients for a while; returns the most that was resident meanwhile."""
    end = time.monotonic() + BURST_SECONDS

    def send(path: str) -> None:
        while time.monotonic() < end:
            service.post(path, {"text": [ARTICLE] * 8, "num_beams": 4})

    clients = [threading.Thread(target=send, args=(PATHS[number % 2],)) for number in range(BURST_CLIENTS)]
    for client in clients:
        client.start()
    most = 0
    while any(client.is_alive() for client in clients):
        most = max(most, resident(service))
        time.sleep(0.1)
    return most


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back when it is asked to")
def test_memory_falls_back_within_a_minute_after_long_texts(log: Path) -> None:
    with running_service(log, request_timeout_seconds=15, workers=4, threads=1) as service:
        for path in PATHS:
            assert service.post(path, {"text": ARTICLE}).status == 200
        time.sleep(PAUSE_SECONDS)
        before = resident(service)

        most = burst(service)
        after = eventually(lambda: resident(service), lambda after: after <= 1.1 * before, 60)
        variants = {(each["task"], each["variant"]) for each in service.get("/memory").json["variants"]}

    assert most > 1.25 * before
    assert after <= 1.1 * before
    assert {("summarization", "original"), ("translation", "original")} <= variants
