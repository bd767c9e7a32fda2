"""Evaluations: posted pairs, data sets and files are scored in a child process, listed, cancelled, and limited."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.service.client import BOUNDARY, Response, Service, eventually
from tests.service.conftest import running_service
from tests.service.raw import answer_of, connect, head

PAIRS = [
    {"source": "The children are playing in the garden.", "target": "Die Kinder spielen im Garten."},
    {"source": "Good morning. How are you?", "target": "Guten Morgen. Wie geht es dir?"},
    {"source": "The train leaves at half past six.", "target": "Der Zug fährt um halb sieben ab."},
    {"source": "My sister works in a hospital.", "target": "Meine Schwester arbeitet in einem Krankenhaus."},
]

# Pairs that take long to evaluate: documents without a full stop, so that each is one long sentence.
LONG_PAIRS = [{"source": f"{number} {'word ' * 6000}", "target": "Wort " * 6000} for number in range(20)]


def evaluation_processes(service: Service) -> list[psutil.Process]:
    """The processes that work on this service's evaluations."""
    found = []
    for process in psutil.Process().children(recursive=True):
        # A process may end while it is looked at.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            is_evaluation = "slimseq.app.evaluations.child" in process.cmdline()
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            if is_evaluation and is_alive and process.ppid() == service.pid:
                found.append(process)
    return found


def running_process(service: Service, seconds: float = 60) -> psutil.Process:
    """Waits for the process of an evaluation that runs, and returns it."""
    return eventually(lambda: evaluation_processes(service), seconds=seconds)[0]


def wait_for_evaluation(service: Service, location: str, seconds: float = 120) -> Any:
    """Waits for the end of an evaluation, and returns it."""
    return eventually(
        lambda: service.get(location).json, lambda job: job["status"] not in ("queued", "running"), seconds
    )


def test_one_address_cannot_fill_the_queue(service: Service) -> None:
    pairs = [{"source": "The old man walks along the river. " * 40, "target": "Der alte Mann."}] * 8
    body = json.dumps({"task": "translation", "variants": ["original"], "pairs": pairs}).encode()
    request = head("POST", "/evaluations", f"Content-Length: {len(body)}", "Connection: close") + body

    def post(address: str) -> Response:
        with connect(service, address=address) as connection:
            connection.sendall(request)
            return answer_of(connection)

    posted = [post("127.0.0.1") for _ in range(6)]
    other = post("127.0.0.2")
    accepted = [answer.json["id"] for answer in (*posted, other) if answer.status == 202]
    # Without keys everybody may cancel them.
    cancelled = [service.delete(f"/evaluations/{identifier}").status for identifier in accepted]

    assert posted[-1].status == 429
    assert "4 evaluations of this address are queued" in posted[-1].problem.detail
    assert other.status == 202
    assert set(cancelled) == {200}


def test_posted_pairs_are_evaluated_to_the_end(service: Service) -> None:
    posted = service.post(
        "/evaluations", {"task": "translation", "variants": ["original", "quantized"], "pairs": PAIRS}
    )
    job = wait_for_evaluation(service, posted.headers["location"])

    assert posted.status == 202
    assert posted.json["status"] in ("queued", "running")
    assert posted.json["progress"] < 1
    assert posted.headers["location"] == f"/evaluations/{posted.json['id']}"
    assert job["status"] == "succeeded"
    assert job["progress"] == 1
    assert [result["variant"] for result in job["results"]] == ["original", "quantized"]
    for result in job["results"]:
        bleu = next(metric for metric in result["metrics"] if metric["metric"] == "bleu")
        assert bleu["samples"] == len(PAIRS)
        assert "version" in bleu["signature"]
        assert bleu["interval"][0] <= bleu["value"] <= bleu["interval"][1]
        assert bleu["retention"] > 0
        if result["variant"] == "original":
            assert bleu["retention"] == 1


def test_outputs_have_the_warnings_and_the_confidence_of_answers(service: Service) -> None:
    german = "Die Kinder spielen heute im Garten, weil die Sonne scheint und die Schule geschlossen ist."
    sources = [
        "The children are playing in the garden.",
        german,
        "The bill of $1,299.99 must be paid by 14 March 2026.",
    ]
    pairs = [{"source": source, "target": "Die Kinder spielen im Garten."} for source in sources]
    variants = ["original", "quantized"]

    posted = service.post("/evaluations", {"task": "translation", "variants": variants, "pairs": pairs})
    location = posted.headers["location"]
    wait_for_evaluation(service, location)
    samples = service.get(f"{location}/samples").json["samples"]

    for variant in variants:
        answer = service.post(f"/translate?variant={variant}", {"text": sources, "protect": False}).json
        for sample, answered in zip(samples, answer["outputs"], strict=True):
            output = sample["outputs"][variant]
            assert output["text"] == answered["text"]
            assert output["warnings"] == answered.get("warnings")
            assert output["confidence"] == answered.get("confidence")
        assert samples[0]["outputs"][variant]["warnings"] is None
        assert samples[1]["outputs"][variant]["warnings"][0]["kind"] == "language"
    assert 0 < samples[0]["outputs"]["original"]["confidence"] < 1


def test_the_bundled_sample_is_evaluated_by_name(service: Service) -> None:
    posted = service.post(
        "/evaluations", {"task": "summarization", "variants": ["quantized"], "dataset": "sample", "samples": 2}
    )
    job = wait_for_evaluation(service, posted.headers["location"])

    assert job["status"] == "succeeded", job
    assert job["dataset"] == "sample"
    assert job["samples"] == 2
    (result,) = job["results"]
    assert result["reference"] is None
    assert {metric["metric"] for metric in result["metrics"]} >= {"rouge1", "rouge2", "rougeL"}
    assert all(metric["retention"] is None for metric in result["metrics"])


def test_live_requests_are_answered_while_an_evaluation_runs_and_it_can_be_cancelled(service: Service) -> None:
    # An evaluation of 80 pairs with long sources, which takes several seconds.
    pairs = [{**pair, "source": pair["source"] * 20} for pair in PAIRS * 20]
    posted = service.post(
        "/evaluations", {"task": "translation", "variants": ["original", "quantized"], "pairs": pairs}
    )
    location = posted.headers["location"]
    process = running_process(service)

    live = service.post("/translate?variant=original", {"text": "Good morning."})
    cancelled = service.delete(location)
    process.wait(timeout=5)
    job = wait_for_evaluation(service, location)
    samples = service.get(f"{location}/samples").json["samples"]
    deleted = service.delete(location)
    following = service.post("/evaluations", {"task": "translation", "variants": ["quantized"], "pairs": PAIRS[:1]})
    following_job = wait_for_evaluation(service, following.headers["location"])

    assert live.status == 200
    assert cancelled.json["status"] == "cancelled"
    assert job["status"] == "cancelled"
    assert job["results"] is None
    assert samples == []
    assert deleted.json == job
    assert service.get(location).status == 404
    assert service.get(f"{location}/samples").status == 404
    assert following_job["status"] == "succeeded"


def test_evaluations_are_listed_with_the_newest_first_and_without_results(service: Service) -> None:
    posted = [
        service.post("/evaluations", {"task": "translation", "variants": ["quantized"], "pairs": PAIRS[:count]}).json
        for count in (1, 2)
    ]
    for job in posted:
        wait_for_evaluation(service, f"/evaluations/{job['id']}")

    page = service.get("/evaluations?limit=2").json
    listed = page["evaluations"]
    older = service.get(f"/evaluations?before={page['next']}").json["evaluations"] if page["next"] else []

    assert not {each["id"] for each in older} & {each["id"] for each in listed}
    assert listed[0]["created_at"] <= listed[0]["started_at"] <= listed[0]["ended_at"]
    assert [each["id"] for each in listed[:2]] == [posted[1]["id"], posted[0]["id"]]
    assert listed[0] == {
        "id": posted[1]["id"],
        "status": "succeeded",
        "progress": 1,
        "task": "translation",
        "variants": ["quantized"],
        "created_at": posted[1]["created_at"],
        "started_at": listed[0]["started_at"],
        "ended_at": listed[0]["ended_at"],
        "dataset": "pairs",
        "samples": 2,
        "languages": ["en", "de"],
    }


def test_an_evaluation_whose_process_is_killed_fails_and_the_service_goes_on(service: Service) -> None:
    posted = service.post("/evaluations", {"task": "translation", "variants": ["original"], "pairs": LONG_PAIRS})
    running_process(service).kill()
    job = wait_for_evaluation(service, posted.headers["location"])

    assert job["status"] == "failed"
    assert job["results"] is None
    assert job["error"]["type"] == "/problems/evaluation-ended"
    assert "memory" in job["error"]["detail"]
    assert job["error"]["request_id"] == posted.headers["x-request-id"]
    assert service.post("/translate", {"text": "Good morning."}).status == 200


def test_an_evaluation_ends_with_a_service_that_is_killed(log: Path) -> None:
    with running_service(log) as own:
        own.post("/evaluations", {"task": "translation", "variants": ["original"], "pairs": LONG_PAIRS})
        process = running_process(own)
        own.process.kill()

        process.wait(timeout=30)


def test_a_pair_of_many_words_without_a_full_stop_is_scored_in_little_memory(service: Service) -> None:
    words = [f"word{number % 3000}" for number in range(20_000)]
    pair = {"document": " ".join(words), "summary": " ".join(words[:2000])}
    posted = service.post(
        "/evaluations",
        {"task": "summarization", "variants": ["quantized"], "pairs": [pair]},
    )
    process = running_process(service)
    most_bytes = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running():
            most_bytes = max(most_bytes, process.memory_info().rss)
            time.sleep(0.02)
    job = wait_for_evaluation(service, posted.headers["location"])

    assert job["status"] == "succeeded", job
    # Far less than a table of all pairs of words would take.
    assert most_bytes < 500_000_000


def test_evaluations_that_were_posted_and_deleted_keep_no_memory(log: Path) -> None:
    pairs = [{"source": f"{number} {'word ' * 1500}", "target": f"{number}"} for number in range(999)]
    body = json.dumps({"task": "translation", "variants": ["original"], "pairs": pairs}).encode()

    def resident_bytes_after(posts: int) -> int:
        for _ in range(posts):
            posted = own.send("POST", "/evaluations", body, {"Content-Type": "application/json"})
            assert own.delete(posted.headers["location"]).json["status"] == "cancelled"
        return int(own.get("/memory").json["process_resident_bytes"])

    with running_service(log) as own:
        warm = resident_bytes_after(3)
        grown = resident_bytes_after(20) - warm

    # Each body is close to the limit of 8 MiB. The bodies of 20 posts are 150 MB, and their pairs as objects are more.
    assert len(body) > 7_400_000
    assert grown < 60_000_000


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"variants": ["original", "nope"]}, 404, "quantized"),
        ({"variants": ["original"] * 2}, 422, "twice"),
        ({"variants": [f"v{n}" for n in range(9)]}, 422, "variants: takes at most 8"),
        ({"task": "haiku"}, 422, "task"),
        ({"pairs": []}, 422, "pairs"),
        ({"pairs": None}, 422, "either dataset or pairs"),
        ({"metric": "bleu"}, 422, "metric: is not a field"),
        ({"dataset": "sample"}, 422, "either dataset or pairs"),
        ({"pairs": [{"source": "Yes."}]}, 422, "pairs[0] must have source and target"),
        ({"pairs": [{"source": "Yes.", "target": " "}]}, 422, "pairs[0].target must not be empty"),
        ({"pairs": PAIRS * 251}, 422, "at most 1000"),
        (
            {"pairs": [*PAIRS, {"source": "word " * 25_000, "target": "Ja."}]},
            422,
            "pairs[4].source has more than 20,000",
        ),
        ({"pairs": [{"source": "Yes.", "target": "y" * 200_001}]}, 422, "pairs[0].target has 200,001 characters"),
        (
            {"task": "summarization", "pairs": [{"document": "Yes.", "summary": "word " * 2001}]},
            422,
            "pairs[0].summary has more than 2,000 words",
        ),
        ({"pairs": None, "dataset": "sample", "samples": 1001}, 422, "at most 1000"),
        ({"pairs": None, "dataset": "../sample.jsonl"}, 422, "dataset: there is no"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_refused(
    service: Service, change: dict[str, Any], status: int, said: str
) -> None:
    refused = service.post("/evaluations", {"task": "translation", "variants": ["original"], "pairs": PAIRS, **change})

    assert refused.status == status
    assert said in refused.problem.detail


def test_an_unknown_evaluation_is_not_found(service: Service) -> None:
    assert service.get("/evaluations/nope").problem.type == "/problems/not-found"
    for answer in (service.delete("/evaluations/nope"), service.get("/evaluations/nope/samples")):
        assert answer.status == 404


FIELDS = (("task", "translation"), ("variants", "original"), ("variants", "quantized"))
TSV = "Good morning.\tGuten Morgen.\nThe train is late.\tDer Zug hat Verspätung.\n".encode()
CSV = b'target,source\r\n"Guten Morgen.","Good morning."\r\n"Ja, bitte.",Yes please.\r\n'


def test_variants_are_evaluated_on_an_uploaded_file(service: Service) -> None:
    posted = service.upload("/evaluations/upload", FIELDS, ("pairs.csv", CSV))
    job = wait_for_evaluation(service, posted.headers["location"])
    samples = service.get(f"{posted.headers['location']}/samples").json["samples"]

    assert posted.status == 202, posted.text
    assert job["status"] == "succeeded", job
    assert job["dataset"] == "pairs.csv"
    assert job["samples"] == 2
    assert samples[0]["source"] == "Good morning."
    assert samples[0]["target"] == "Guten Morgen."
    assert set(samples[1]["outputs"]) == {"original", "quantized"}


@pytest.mark.parametrize(
    ("fields", "file", "status", "said"),
    [
        (FIELDS, ("paper.pdf", b"%PDF-1.7"), 422, "'paper.pdf' is no data set: its name must end in .jsonl"),
        (FIELDS, ("pairs.tsv", TSV + b"alone\n"), 422, "line 3 of pairs.tsv has no `target`"),
        (FIELDS, ("pairs.tsv", b"\xff\xfe\x00"), 422, "pairs.tsv is not UTF-8 text"),
        (FIELDS, ("pairs.tsv", b"Yes.\tJa.\n" * 1001), 422, "at most 1000 are allowed"),
        (FIELDS, ("pairs.tsv", b"word " * 25_000 + b"\tJa.\n"), 422, "pairs[0].source has more than 20,000 words"),
    ],
)
def test_an_upload_that_is_no_data_set_is_refused(
    service: Service, fields: tuple[tuple[str, str], ...], file: tuple[str, bytes], status: int, said: str
) -> None:
    refused = service.upload("/evaluations/upload", fields, file)

    assert refused.status == status, refused.text
    assert said in refused.problem.detail, refused.text


def test_an_upload_of_nothing_is_told_what_it_needs(service: Service) -> None:
    nothing = service.send("POST", "/evaluations/upload")

    assert nothing.status == 422
    assert nothing.problem.detail == "task: is required; variants: is required; file: is required"


def test_each_path_takes_its_own_kind_of_body(service: Service) -> None:
    as_json = service.post("/evaluations/upload", {"task": "translation"})
    as_form = service.upload("/evaluations", FIELDS, ("pairs.tsv", TSV))
    broken = service.send(
        "POST", "/evaluations/upload", b"nonsense", {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    )

    assert (as_json.status, as_form.status) == (415, 415)
    assert "must be multipart/form-data" in as_json.problem.detail
    assert "must be application/json" in as_form.problem.detail
    assert broken.status == 422
