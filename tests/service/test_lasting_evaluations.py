"""Evaluations survive a killed service (kill -9), are shared by two services, and wait for a database that is down."""

import uuid
from pathlib import Path
from typing import Any

from tests.postgresql import PostgreSQL
from tests.service.client import Service, eventually
from tests.service.conftest import running_service
from tests.service.test_evaluations import PAIRS, evaluation_processes, wait_for_evaluation
from tests.service.test_experiments import EXPERIMENT

MANY = [{"source": f"{number}: {pair['source']}", "target": pair["target"]} for number in range(10) for pair in PAIRS]
REQUEST = {"task": "translation", "variants": ["original", "quantized"], "pairs": MANY}
TEXT = {"text": "Good morning."}


def wait_for_progress(service: Service, location: str) -> float:
    """Waits until an evaluation has some progress, and returns it."""
    return eventually(lambda: float(service.get(location).json["progress"]), seconds=120)


def outputs_of(service: Service, location: str) -> list[Any]:
    """Reads all samples of an evaluation, page by page."""
    found = []
    start = 0
    while start is not None:
        page = service.get(f"{location}/samples?start={start}&limit=50").json
        found += page["samples"]
        start = page["next"]
    return found


def test_an_evaluation_goes_on_after_kill_9_and_nothing_counts_twice(log: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'kept.db'}"
    with running_service(log, database_url=database) as first:
        whole = first.post("/evaluations", REQUEST).headers["location"]
        expected = wait_for_evaluation(first, whole)
        location = first.post("/evaluations", REQUEST).headers["location"]
        progress = wait_for_progress(first, location)
        first.process.kill()
    with running_service(log, database_url=database, waits=False) as second:
        found = second.get(location).json
        job = wait_for_evaluation(second, location)
        samples = outputs_of(second, location)
        kept = wait_for_evaluation(second, whole)

    assert found["status"] in ("queued", "running")
    assert found["progress"] >= progress
    assert job["status"] == "succeeded", job
    assert kept == expected
    assert [each["number"] for each in samples] == list(range(len(MANY)))
    assert all(set(each["outputs"]) == {"original", "quantized"} for each in samples)
    for result, same in zip(job["results"], expected["results"], strict=True):
        assert result["metrics"] == same["metrics"]
        assert result["output_tokens"] == same["output_tokens"]


def test_two_services_show_and_cancel_the_same_evaluations(log: Path, postgresql: PostgreSQL) -> None:
    database = postgresql.new_database(f"service-{uuid.uuid4().hex}")
    with (
        running_service(log, database_url=database) as first,
        running_service(log, database_url=database) as second,
    ):
        location = first.post("/evaluations", REQUEST).headers["location"]
        wait_for_progress(second, location)
        running = [*evaluation_processes(first), *evaluation_processes(second)]
        other = second if evaluation_processes(first) else first
        cancelled = other.delete(location)
        for process in running:
            process.wait(timeout=30)

        assert len(running) == 1
        assert cancelled.json["status"] == first.get(location).json["status"] == "cancelled"


def test_while_the_database_is_down_texts_are_served_and_evaluations_wait(log: Path, postgresql: PostgreSQL) -> None:
    url = postgresql.new_database(f"service-{uuid.uuid4().hex}")
    with running_service(log, database_url=url) as service:
        location = service.post("/evaluations", REQUEST).headers["location"]
        wait_for_progress(service, location)
        postgresql.stop()
        try:
            refused = [
                service.post("/evaluations", REQUEST),
                service.get("/evaluations"),
                service.get(location),
                service.delete(location),
                service.get(f"{location}/samples"),
            ]
            served = service.post("/translate", TEXT)
        finally:
            postgresql.start()
        job = wait_for_evaluation(service, location)

    assert served.status == 200
    assert {(each.status, each.problem.type) for each in refused} == {(503, "/problems/database-unavailable")}
    assert all(int(each.headers["retry-after"]) > 0 for each in refused)
    assert job["status"] == "succeeded"
    assert job["samples"] == len(MANY)
    assert "the database is not available" in log.read_text()
    assert "available again" in log.read_text()


def test_where_nothing_can_be_written_texts_are_served_and_the_log_says_so(log: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with running_service(log, database_url=f"sqlite:///{tmp_path}/file/kept.db") as service:
        served = service.post("/translate", TEXT)
        refused = [
            service.post("/evaluations", REQUEST),
            service.post("/experiments", EXPERIMENT),
            service.get("/experiments"),
            service.post("/feedback", {"response": served.json["id"], "rating": 1}),
        ]

    assert served.status == 200
    assert {(each.status, each.problem.type) for each in refused} == {(503, "/problems/database-unavailable")}
    assert "the database is not available" in log.read_text()
