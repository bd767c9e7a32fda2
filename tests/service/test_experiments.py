"""Experiments and feedback: arms get their shares, votes and ratings are counted, and a winner may be promoted."""

import contextlib
import json
import shutil
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Response, Service, eventually
from tests.service.conftest import running_service
from tests.service.raw import connect, head

TEXT = {"text": "Good morning.", "num_beams": 1}
# A request that exceeds the deadline of three seconds while it streams.
LONG = {"text": ["The old man walks along the river. " * 60] * 16, "num_beams": 16, "stream": True}
# Half a surrogate pair, which is no text.
HALF = "\ud800"
EXPERIMENT = {
    "task": "translation",
    "name": "Is pruned good enough?",
    "arms": [{"variant": "quantized", "weight": 3}, {"variant": "pruned", "weight": 1}],
    "margin": 0.02,
}

ORIGINAL_AND_QUANTIZED = [{"variant": "original"}, {"variant": "quantized"}]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('experiments') / 'slimseq.db'}"


@pytest.fixture(scope="module")
def running(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    with running_service(log, database_url=database, request_timeout_seconds=3) as service:
        yield service


@pytest.fixture
def experiments(running: Service) -> Iterator[Service]:
    """A service without a running experiment. The experiments that a test starts are stopped after the test."""
    yield running
    for each in running.get("/experiments").json["experiments"]:
        running.post(f"/experiments/{each['id']}/stop", {})


def start_experiment(service: Service, **changes: Any) -> Any:
    """Starts an experiment, and returns it as the service describes it."""
    answer = service.post("/experiments", EXPERIMENT | changes)
    assert answer.status == 201, answer.text
    assert answer.headers["location"] == f"/experiments/{answer.json['id']}"
    return answer.json


def translated(service: Service, unit: str | None = None, query: str = "", **body: Any) -> Response:
    return service.post(f"/translate{query}", TEXT | body, {"X-Slimseq-Unit": unit} if unit else {})


def compared(service: Service) -> Any:
    return service.post("/compare?task=translation&variant=quantized&variant=pruned", TEXT).json


def test_a_unit_keeps_its_arm_and_arms_get_their_shares(experiments: Service) -> None:
    experiment = start_experiment(experiments)

    units = [str(number) for number in range(80)]
    answers = {unit: translated(experiments, unit).json for unit in units}
    again = {unit: translated(experiments, unit).json for unit in units[:10]}
    report = experiments.get(f"/experiments/{experiment['id']}").json

    for answer in answers.values():
        assert answer["experiment"] == {"id": experiment["id"], "arm": answer["variant"]}
    assert all(answers[unit]["variant"] == answer["variant"] for unit, answer in again.items())
    counts = Counter(answer["variant"] for answer in answers.values())
    # Three quarters of 80 units are 60. Chance takes less than 45 or more than 72 once in several thousand experiments.
    assert 45 <= counts["quantized"] <= 72
    assert counts["quantized"] + counts["pruned"] == 80
    assert [(arm["variant"], arm["share"]) for arm in report["arms"]] == [("quantized", 0.75), ("pruned", 0.25)]
    # 80 first answers, and 10 second ones.
    assert sum(arm["responses"] for arm in report["arms"]) == 90


def test_a_request_that_names_a_variant_or_a_runtime_or_is_of_another_task_is_in_no_experiment(
    experiments: Service,
) -> None:
    start_experiment(experiments, arms=ORIGINAL_AND_QUANTIZED)

    named = translated(experiments, "someone", "?variant=original").json
    with_runtime = [translated(experiments, str(unit), "?runtime=onnxruntime") for unit in range(10)]
    of_other_task = experiments.post("/summarize", TEXT).json

    assert named["variant"] == "original"
    assert "experiment" not in named
    # The default variant answers all of them with the runtime, or refuses all of them without it.
    assert len({answer.status for answer in with_runtime}) == 1
    assert all("experiment" not in answer.json for answer in with_runtime)
    assert "experiment" not in of_other_task


def test_a_stream_is_in_an_experiment_and_names_its_arm(experiments: Service) -> None:
    experiment = start_experiment(experiments, arms=ORIGINAL_AND_QUANTIZED)

    streamed = translated(experiments, "someone", stream=True).events[-1][1]

    assert streamed["experiment"] == {"id": experiment["id"], "arm": streamed["variant"]}


def test_an_arm_that_disappears_leaves_its_traffic_to_the_default(log: Path, store: Path) -> None:
    with running_service(log, store=store) as service:
        experiment = start_experiment(service, arms=ORIGINAL_AND_QUANTIZED)
        remove_variant(service, store, "quantized")

        answers = [translated(service, str(unit)) for unit in range(20)]
        streamed = [translated(service, str(unit), stream=True) for unit in range(3)]
        comparison = service.post("/compare?task=translation&variant=original&variant=quantized", TEXT)
        report = service.get(f"/experiments/{experiment['id']}").json

    assert {answer.status for answer in answers + streamed} == {200}
    assert comparison.status == 404
    # The units of the arm that is there. The others get the default variant's answer, outside of the experiment.
    inside = [answer for answer in answers if "experiment" in answer.json]
    assert 0 < len(inside) < 20
    assert all(answer.json["variant"] == "original" for answer in inside)
    assert report["arms"][1]["errors"] >= 20 - len(inside)


def remove_variant(service: Service, store: Path, variant: str) -> None:
    """Removes a translator from the store, and waits until the service has noticed."""
    shutil.rmtree(store / "translation" / variant)
    answer = eventually(lambda: translated(service, query=f"?variant={variant}"), lambda found: found.status == 404)
    assert answer.status == 404


def default_of(service: Service) -> Any:
    """Returns the variant that `/variants` shows as the default translator."""
    variants = service.get("/variants").json["variants"]
    [found] = [each for each in variants if each["default"] and each["task"] == "translation"]
    return found


def promote_original(service: Service) -> Any:
    """Starts an experiment, and promotes its arm `original`. Returns the experiment."""
    experiment = start_experiment(service, arms=ORIGINAL_AND_QUANTIZED)
    answer = service.post(f"/experiments/{experiment['id']}/promote?arm=original", {})
    assert answer.status == 200, answer.text
    return answer.json


def test_an_undecided_experiment_is_promoted_only_if_the_request_names_the_arm(experiments: Service) -> None:
    experiment = start_experiment(experiments)

    undecided = experiments.post(f"/experiments/{experiment['id']}/promote", {})

    assert undecided.status == 409
    assert "?arm=quantized" in undecided.problem.detail


def test_a_promoted_arm_is_the_default_of_all_services_and_after_a_restart(log: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    with (
        running_service(log, database_url=database) as service,
        running_service(tmp_path / "other", database_url=database) as other,
    ):
        promoted = promote_original(service)
        at_once = translated(service).json["variant"]
        # The other service reads the database again and again.
        shared = eventually(lambda: default_of(other), lambda found: found["variant"] == "original", 10)
        answer_of_other = translated(other).json["variant"]

    with running_service(log, database_url=database) as service:
        restarted = default_of(service)

    assert (promoted["promoted"], promoted["status"]) == ("original", "stopped")
    assert at_once == "original"
    reason = f"experiment {promoted['id']} promoted original"
    assert (shared["variant"], shared["default_reason"]) == ("original", reason)
    assert answer_of_other == "original"
    assert (restarted["variant"], restarted["status"]) == ("original", "loaded")


def test_without_its_promoted_variant_a_service_has_the_usual_default_and_says_why(log: Path, store: Path) -> None:
    # With a summarizer, the store would take longer to load.
    shutil.rmtree(store / "summarization")
    with running_service(log, store=store) as service:
        promoted = promote_original(service)
        remove_variant(service, store, "original")

        answer = translated(service)
        # The service looks at its store once a second. Until then it only knows that the variant cannot be loaded.
        usual = eventually(lambda: default_of(service), lambda found: "not in the store" in found["default_reason"], 10)
        again = service.post(f"/experiments/{promoted['id']}/promote?arm=original", {})
        logged = eventually(log.read_text, lambda text: usual["default_reason"] in text, 10)

    assert answer.status == 200
    assert answer.json["variant"] == "quantized"
    assert usual["variant"] == "quantized"
    reason = f"experiment {promoted['id']} promoted original"
    assert usual["default_reason"] == f"usual default: {reason}, which is not in the store"
    assert usual["default_reason"] in logged
    assert again.status == 404


def test_a_task_has_one_experiment_until_it_is_stopped_and_then_the_default_answers(experiments: Service) -> None:
    experiment = start_experiment(experiments)

    refused = experiments.post("/experiments", EXPERIMENT)
    stopped = experiments.post(f"/experiments/{experiment['id']}/stop", {})
    again = experiments.post(f"/experiments/{experiment['id']}/stop", {}).json

    answer = translated(experiments, "someone").json
    following = start_experiment(experiments)

    assert refused.status == 409
    assert experiment["id"] in refused.problem.detail
    assert stopped.status == 200
    assert stopped.json["status"] == "stopped"
    assert again["stopped_at"] == stopped.json["stopped_at"]
    assert "experiment" not in answer
    assert following["id"] != experiment["id"]


def test_only_judgements_are_stored(experiments: Service, database: str) -> None:
    def rows() -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}

    start_experiment(experiments)
    before = rows()

    answers = [translated(experiments, str(number)).json for number in range(20)]
    judged = experiments.post("/feedback", {"response": answers[0]["id"], "rating": 1})

    assert judged.status == 201
    added = {table: count - before[table] for table, count in rows().items()}
    assert added.pop("ratings") == 1
    # Answers add to the counts of both arms, and nothing else.
    assert {table for table, count in added.items() if count} <= {"experiment_counts", "signing_keys"}


def test_experiments_and_feedback_survive_a_kill_and_name_the_arm_that_is_ahead(log: Path) -> None:
    with running_service(log) as service:
        experiment = start_experiment(service)
        rated = [translated(service, str(unit)).json["id"] for unit in range(6)]
        statuses = [service.post("/feedback", {"response": each, "rating": 1}).status for each in rated]
        for _ in range(40):
            vote = {"comparison": compared(service)["id"], "preferred": "pruned"}
            statuses.append(service.post("/feedback", vote).status)
        service.process.kill()

    with running_service(log) as service:
        report = service.get(f"/experiments/{experiment['id']}").json
        again = service.post("/feedback", {"response": rated[0], "rating": 1})
        split = translated(service, "0").json

    assert statuses == [201] * 46
    assert sum(arm["ratings"]["count"] for arm in report["arms"] if arm["ratings"]) == 6
    assert report["pairs"][0]["votes"]["votes"] == 40
    assert report["status"] == "running"
    assert report["conclusion"] == {"verdict": "ahead", "arm": "pruned", "text": "pruned is ahead of quantized."}
    assert again.status == 409
    assert split["experiment"]["id"] == experiment["id"]


def test_experiments_are_listed_in_pages(experiments: Service) -> None:
    ids = []
    for number in range(3):
        experiment = start_experiment(experiments, name=f"experiment {number}")
        experiments.post(f"/experiments/{experiment['id']}/stop", {})
        ids.append(experiment["id"])

    page = experiments.get("/experiments?limit=2").json
    listed = [each["id"] for each in page["experiments"]]
    while page["next"]:
        page = experiments.get(f"/experiments?limit=2&before={page['next']}").json
        listed += [each["id"] for each in page["experiments"]]

    # The newest comes first.
    assert listed[:3] == ids[::-1]
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"arms": [{"variant": "quantized"}, {"variant": "nope"}]}, 404, "nope"),
        ({"arms": [{"variant": "quantized"}]}, 422, "arms"),
        ({"arms": [{"variant": "quantized"}, {"variant": "quantized"}]}, 422, "twice"),
        ({"arms": [{"variant": "quantized", "weight": 0}, {"variant": "pruned"}]}, 422, "weight"),
        ({"margin": 0.6}, 422, "margin"),
        # NaN is no JSON.
        ({"margin": float("nan")}, 422, ""),
        ({"arms": [{"variant": "quantized", "weight": None}, {"variant": "pruned"}]}, 422, "weight"),
        ({"name": ""}, 422, "name"),
        ({"task": "poetry"}, 422, "task"),
        # An unknown field.
        ({"arm": []}, 422, "arm"),
        ({"when_decided": "win"}, 422, "when_decided"),
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused(
    service: Service, change: dict[str, Any], status: int, says: str
) -> None:
    answer = service.post("/experiments", EXPERIMENT | change)

    assert answer.status == status
    assert says in answer.problem.detail


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"response": "nope", "rating": 1}, 404, "nope"),
        ({"comparison": "nope", "preferred": "quantized"}, 404, "nope"),
        ({"response": "\0", "rating": 1}, 404, "wrong or too old"),
        ({"comparison": "nope", "preferred": HALF}, 422, ""),
        ({"response": "nope", "rating": 2}, 422, "rating"),
        ({"response": "nope"}, 422, "give either"),
        ({"comparison": "nope"}, 422, "null for a tie"),
        ({"response": "nope", "rating": 1, "comparison": "nope", "preferred": "quantized"}, 422, "give either"),
    ],
)
def test_feedback_on_nothing_is_refused(service: Service, body: dict[str, Any], status: int, says: str) -> None:
    answer = service.post("/feedback", body)

    assert answer.status == status
    assert says in answer.problem.detail


def test_a_vote_for_a_variant_that_was_not_compared_names_those_that_were(service: Service) -> None:
    answer = service.post("/feedback", {"comparison": compared(service)["id"], "preferred": "original"})

    assert answer.status == 422
    assert "quantized, pruned" in answer.problem.detail


def test_with_a_token_only_operators_start_stop_and_delete_experiments(log: Path) -> None:
    operator = {"Authorization": "Bearer secret"}
    with running_service(log, admin_token="secret") as service:
        refused = service.post("/experiments", EXPERIMENT)
        path = service.post("/experiments", EXPERIMENT, operator).headers["location"]
        translated(service, "someone")
        deleted_while_running = service.send("DELETE", path, headers=operator)
        without_token = [
            service.post(f"{path}/stop", {}),
            service.post(f"{path}/promote?arm=pruned", {}),
            service.delete(path),
        ]
        promoted = service.post(f"{path}/promote?arm=pruned", {}, operator)
        deleted = service.send("DELETE", path, headers=operator)
        after_deletion = [service.get(path), service.send("DELETE", path, headers=operator)]

    assert refused.status == 401
    assert "Bearer" in refused.problem.detail
    assert deleted_while_running.status == 409
    assert "stop it first" in deleted_while_running.problem.detail
    assert [answer.status for answer in without_token] == [401, 401, 401]
    assert promoted.status == 200
    assert deleted.status == 204
    assert [answer.status for answer in after_deletion] == [404, 404]


def arms_of(service: Service, experiment: Any) -> Any:
    return service.get(f"/experiments/{experiment['id']}").json["arms"]


def leave_after_the_first_piece(service: Service) -> None:
    """Requests a stream, and closes the connection after its first token."""
    body = json.dumps(LONG).encode()
    with connect(service) as connection:
        connection.sendall(head("POST", "/translate", f"Content-Length: {len(body)}") + body)
        received = b""
        while b"event: token" not in received:
            received += connection.recv(65536)
        connection.shutdown(socket.SHUT_RDWR)


def test_a_stream_that_breaks_is_an_error_of_its_arm_and_a_client_that_leaves_is_none(experiments: Service) -> None:
    experiment = start_experiment(experiments)

    leave_after_the_first_piece(experiments)
    # Enough time for the service to notice that the client left. A wrong service would count an error then.
    time.sleep(1)
    after_leaving = arms_of(experiments, experiment)
    broken = experiments.post("/translate", LONG)
    after_breaking = arms_of(experiments, experiment)

    names = [name for name, _ in broken.events]
    assert names[0] == "token"
    assert names[-1] == "error"
    assert broken.events[-1][1]["status"] == 504
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
    vote = {"comparison": compared(service)["id"], "preferred": None}

    translation = service.post("/translate", TEXT, header)
    comparison = service.post("/compare?task=translation&variant=quantized&variant=pruned", TEXT, header)
    voted = service.post("/feedback", vote, header)

    assert translation.status == status
    assert comparison.status == status
    assert voted.status == (201 if status == 200 else status)
