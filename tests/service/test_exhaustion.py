"""Memory or file descriptors run out while a variant is loaded: the request is refused, and a later one loads it."""

import http.client
import json
import re
import resource
import sys
from pathlib import Path

import psutil
import pytest

from tests.service.client import Service
from tests.service.conftest import running_service

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process that runs")

TEXT = {"text": "Good morning."}
NEW = "/translate?variant=original"
# Address space that a load may take: too little for a decoder, and enough for what Python does beside it.
LITTLE_BYTES = 25_000_000


def limit(service: Service, kind: int, most: int) -> None:
    resource.prlimit(service.pid, kind, (most, resource.prlimit(service.pid, kind)[1]))


def test_a_load_without_memory_is_refused_with_503_and_succeeds_once_there_is_some(log: Path) -> None:
    # Few threads, because each takes address space of its own.
    with running_service(log, workers=1, threads=1) as service:
        address_space = psutil.Process(service.pid).memory_info().vms
        limit(service, resource.RLIMIT_AS, address_space + LITTLE_BYTES)
        refused = service.post(NEW, TEXT)
        loaded_before = service.post("/translate", TEXT)
        listed = service.get("/variants/translation/original").json
        limit(service, resource.RLIMIT_AS, resource.RLIM_INFINITY)
        served = service.post(NEW, TEXT)

    assert refused.status == 503
    assert refused.problem.type == "/problems/resources-exhausted"
    # To start a thread takes memory too.
    assert re.match("translation/original cannot be loaded: (memory|threads) ran out", refused.problem.detail)
    assert int(refused.headers["retry-after"]) >= 1
    assert loaded_before.status == 200
    assert listed["status"] == "broken"
    assert listed["error"] == refused.problem.detail
    assert served.status == 200


def test_a_load_without_file_descriptors_is_refused_with_503_and_succeeds_once_there_are_some(log: Path) -> None:
    with running_service(log) as service:
        # This connection is opened first, because a new one would need a descriptor.
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        before = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)[0]
        # Few descriptors below the highest one are free, fewer than a variant has files.
        highest = max(int(each.name) for each in Path(f"/proc/{service.pid}/fd").iterdir())
        limit(service, resource.RLIMIT_NOFILE, highest + 1)
        connection.request("POST", NEW, json.dumps(TEXT), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        problem = json.loads(answer.read())
        limit(service, resource.RLIMIT_NOFILE, before)
        connection.close()
        served = service.post(NEW, TEXT)

    assert answer.status == 503, problem
    assert problem["type"] == "/problems/resources-exhausted", problem
    assert "file descriptors ran out" in problem["detail"]
    assert served.status == 200
