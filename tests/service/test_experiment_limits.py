"""What goes wrong in an experiment: streams that break, clients that leave, odd units and weights, too much of it."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service
from tests.service.conftest import running_service
from tests.service.raw import connect
from tests.service.test_experiments import EXPERIMENT, TEXT, compared, started, translated

LONG = {"text": ["The old man walks along the river. " * 40] * 60, "num_beams": 16, "stream": True}
HALF = "\ud800"


@pytest.fixture
def experiments(log: Path) -> Iterator[Service]:
    with running_service(log) as running:
        running.wait_until_ready()
        yield running


def arms_of(service: Service, experiment: Any) -> Any:
    return service.get(f"/experiments/{experiment['id']}").json["arms"]


def leave_after_the_first_piece(service: Service) -> None:
    body = json.dumps(LONG).encode()
    head = f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with connect(service) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        received = b""
        while b"event: token" not in received:
            received += connection.recv(65536)
        connection.shutdown(socket.SHUT_RDWR)


def test_a_stream_that_breaks_is_an_error_of_its_arm_and_a_client_that_leaves_is_none(log: Path) -> None:
    with running_service(log, request_timeout_seconds=3) as service:
        service.wait_until_ready()
        experiment = started(service)
        leave_after_the_first_piece(service)
        time.sleep(1)
        after_leaving = arms_of(service, experiment)
        broken = service.post("/translate", LONG)
        after_breaking = arms_of(service, experiment)

    names = [name for name, _ in broken.events]
    assert names[0] == "token" and names[-1] == "error" and broken.events[-1][1]["status"] == 504
    assert sum(arm["errors"] for arm in after_leaving) == 0
    assert sum(arm["errors"] for arm in after_breaking) == 1
    assert sum(arm["responses"] for arm in after_breaking) == 0


@pytest.mark.parametrize(
    ("unit", "status"),
    [("", 200), ("käse\xa0\xff", 200), ("a" * 256, 200), ("a" * 257, 422), ("a" * 10_000, 422), (" \t ", 200)],
    ids=["empty", "not ASCII", "longest", "too long", "10 kB", "blank"],
)
def test_any_short_header_is_a_unit(service: Service, unit: str, status: int) -> None:
    header = {"X-Slimseq-Unit": unit}
    answers = [
        service.post("/translate", TEXT, header),
        service.post("/compare?task=translation&variant=quantized&variant=pruned", TEXT, header),
        service.post("/feedback", {"comparison": compared(service)["id"], "preferred": None}, header),
    ]

    assert [answer.status for answer in answers] == [status, status, 201 if status == 200 else status]


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "-Infinity", "1e308", "-1", "0", "1e999", '"a"', "null"])
def test_a_weight_that_is_no_weight_is_refused(service: Service, weight: str) -> None:
    body = json.dumps(EXPERIMENT).replace('"weight": 3', f'"weight": {weight}').encode()

    answer = service.send("POST", "/experiments", body, {"Content-Type": "application/json"})

    assert answer.status == 422 and answer.problem.detail


@pytest.mark.parametrize(
    "body",
    [
        {"response": HALF, "rating": 1},
        {"comparison": HALF, "preferred": "quantized"},
        {"comparison": "\0", "preferred": None},
        {"response": "\0", "rating": 0},
        {"comparison": "c", "preferred": HALF},
    ],
)
def test_feedback_on_an_odd_id_is_refused(service: Service, body: object) -> None:
    answer = service.post("/feedback", body)

    assert answer.status in (404, 422) and answer.problem.detail


def test_a_stopped_experiment_can_be_deleted(log: Path) -> None:
    operator = {"Authorization": "Bearer secret"}
    with running_service(log, admin_token="secret") as service:
        service.wait_until_ready()
        path = service.post("/experiments", EXPERIMENT, operator).headers["location"]
        translated(service, "someone")
        running = service.send("DELETE", path, headers=operator)
        service.post(f"{path}/stop", {}, operator)
        refused, deleted = service.delete(path), service.send("DELETE", path, headers=operator)
        again, shown = service.send("DELETE", path, headers=operator), service.get(path)

    assert [each.status for each in (running, refused, deleted, again, shown)] == [409, 401, 204, 404, 404]
    assert "stop it first" in running.problem.detail
