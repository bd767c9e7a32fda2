"""What long texts have taken goes back to the system within a minute, without a variant being unloaded."""

import platform
import threading
import time
from pathlib import Path

import pytest

from tests.service.client import Service
from tests.service.conftest import running_service

LONG = "The council met on Monday to discuss the new bridge across the river, and many people came to hear it. " * 40
BURST_SECONDS = 12
CLIENTS = 6
# Longer than the service waits after the last request before it gives memory back.
PAUSE_SECONDS = 12
PATHS = ("/summarize?variant=original", "/translate?variant=original&runtime=onnxruntime")


def resident(service: Service) -> int:
    found: int = service.get("/memory").json["process_resident_bytes"]
    return found


def burst(service: Service) -> int:
    """Sends long texts from many clients for a while; returns the most that was resident meanwhile."""
    end = time.monotonic() + BURST_SECONDS

    def send(path: str) -> None:
        while time.monotonic() < end:
            service.post(path, {"text": [LONG] * 8, "num_beams": 4})

    clients = [threading.Thread(target=send, args=(PATHS[number % 2],)) for number in range(CLIENTS)]
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
            assert service.post(path, {"text": LONG}).status == 200
        time.sleep(PAUSE_SECONDS)
        before = resident(service)

        most = burst(service)
        deadline = time.monotonic() + 60
        while (after := resident(service)) > 1.1 * before and time.monotonic() < deadline:
            time.sleep(0.5)
        variants = {(each["task"], each["variant"]) for each in service.get("/memory").json["variants"]}

    assert most > 1.25 * before
    assert after <= 1.1 * before
    assert {("summarization", "original"), ("translation", "original")} <= variants
