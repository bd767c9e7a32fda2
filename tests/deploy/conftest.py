"""The real service under load, watched by the real Prometheus with the configuration and rules of `deploy/`."""

import itertools
import json
import math
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import MeanAgreement
from slimseq.models_store.store import Store
from tests.service.client import Service
from tests.service.conftest import free_port, running_service

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
WAIT_SECONDS = 30.0
# A busy machine takes a while to start Prometheus.
START_SECONDS = 120.0
# The process that answers again runs when the CPUs have nothing else to do.
SHADOW_SECONDS = 240.0
DOCUMENT = "The council met on Monday to discuss the new bridge across the river. Many people came to hear it."
# Two tasks, two variants, a stream, and what nobody serves. On the runtime whose files the memory budget is made of.
REQUESTS: Sequence[tuple[str, dict[str, Any]]] = (
    ("/translate?runtime=onnxruntime&variant=quantized", {"text": "There are many birds in the tree."}),
    ("/translate?runtime=onnxruntime&variant=original", {"text": ["Good morning.", "The sun is shining."]}),
    ("/translate?runtime=onnxruntime&variant=quantized", {"text": "The old man walks.", "stream": True}),
    ("/summarize?runtime=onnxruntime&variant=quantized", {"text": DOCUMENT}),
    ("/translate?variant=nowhere", {"text": "Good morning."}),
)

# An experiment, with feedback on its responses and on comparisons of its arms.
ARMS = ("quantized", "original")
JUDGED = {"text": "The children are playing in the garden.", "num_beams": 1}
COMPARED = "/compare?task=translation&runtime=onnxruntime&variant=quantized&variant=original"

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs prometheus and promtool, Debian's package `prometheus`",
)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        address = f"{self.address}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 400:
                raise AssertionError(f"Prometheus refuses {parameters}: {error.read().decode()}") from error
            raise

    def wait_for(self, expression: str, seconds: float = WAIT_SECONDS) -> list[dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                found = self.get("query", query=expression)["result"]
                if numbers := [each for each in found if not math.isnan(float(each["value"][1]))]:
                    return numbers
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"Prometheus has no data for {expression}")


@contextmanager
def running_prometheus(configuration: Path, data: Path) -> Iterator[Prometheus]:
    """Starts a Prometheus with a configuration, waits until it answers, and stops it."""
    port = free_port()
    options = [f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
    command = ["prometheus", f"--config.file={configuration}", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    prometheus = Prometheus(port)
    try:
        # It refuses connections at first, and then answers 503.
        prometheus.wait_for("vector(1)", START_SECONDS)
        yield prometheus
    finally:
        process.terminate()
        process.wait(timeout=30)


# For this folder alone: the load would slow down the tests that follow.
@pytest.fixture(scope="package")
def watched(embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Prometheus]]:
    """A service with a memory budget that not all variants fit in, and a Prometheus that scrapes it each second."""
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copytree(embedded.root, folder / "artifacts")
    record_agreement(Store(folder / "artifacts"))
    largest = max(
        sum(path.stat().st_size for path in (embedded.folder(task, "original") / "onnx").iterdir()) for task in Task
    )
    budget = 4 * largest
    with running_service(
        folder / "log", store=folder / "artifacts", max_resident_bytes=budget, shadow_share=1
    ) as service:
        shutil.copytree(PROMETHEUS, folder / "configuration")
        configuration = folder / "configuration" / "prometheus.yml"
        own = configuration.read_text()
        for deployed, tested in (("api:8000", f"127.0.0.1:{service.port}"), *((f": {n}s", ": 1s") for n in (3, 5, 15))):
            assert deployed in own
            own = own.replace(deployed, tested)
        # This service has no keys, and ignores Prometheus'.
        key = folder / "prometheus.key"
        key.write_text("unused", encoding="utf-8")
        own, found = re.subn(r"/etc/slimseq/prometheus\.key", str(key), own)
        assert found == 1
        configuration.write_text(own)
        with running_prometheus(configuration, folder / "data") as prometheus:
            yield service, prometheus


def record_agreement(store: Store) -> None:
    """Has the manifest of a variant record an agreement, as `slimseq evaluate --record` does."""
    manifest = store.manifest(Task.TRANSLATION, "quantized")
    agreement = MeanAgreement(exact=0.5, similarity=0.9, interval=(0.85, 0.95), metric="chrf")
    quality = [score.model_copy(update={"agreement": agreement}) for score in manifest.quality]
    folder = store.folder(Task.TRANSLATION, "quantized")
    write_manifest(folder, manifest.model_copy(update={"quality": quality}))


@pytest.fixture(scope="package")
def loaded(watched: tuple[Service, Prometheus]) -> Iterator[Prometheus]:
    """The same Prometheus while clients send requests of every kind, and after variants were unloaded for others."""
    service, prometheus = watched
    has_ended = threading.Event()

    def send(path: str, body: dict[str, Any]) -> None:
        while not has_ended.wait(0.2):
            service.post(path, body)

    def judge() -> None:
        order = {"task": "translation", "name": "watched", "arms": [{"variant": each} for each in ARMS]}
        assert service.post("/experiments", order).status == 201
        for preferred in itertools.cycle(ARMS):
            if has_ended.wait(0.2):
                return
            response = service.post("/translate", JUDGED).json
            service.post("/feedback", {"response": response["id"], "rating": 1})
            comparison = service.post(COMPARED, JUDGED).json
            service.post("/feedback", {"comparison": comparison["id"], "preferred": preferred})

    clients = [threading.Thread(target=send, args=request) for request in REQUESTS]
    service.post(*REQUESTS[0])
    prometheus.wait_for("slimseq_agreement_outputs", SHADOW_SECONDS)
    others = itertools.product(("translate", "summarize"), ("pruned", "distilled", "original", "compact"))
    while service.get("/memory").json["evictions"] == 0:
        task, variant = next(others)
        service.post(f"/{task}?runtime=onnxruntime&variant={variant}", {"text": "Good morning."})
    clients.append(threading.Thread(target=judge))
    for client in clients:
        client.start()
    try:
        yield prometheus
    finally:
        has_ended.set()
        for client in clients:
            client.join()
