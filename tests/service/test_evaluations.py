import time
from typing import Any

import pytest

from tests.service.client import Service

PAIRS = [
    {"source": "The children are playing in the garden.", "target": "Die Kinder spielen im Garten."},
    {"source": "Good morning. How are you?", "target": "Guten Morgen. Wie geht es dir?"},
    {"source": "The train leaves at half past six.", "target": "Der Zug fährt um halb sieben ab."},
    {"source": "My sister works in a hospital.", "target": "Meine Schwester arbeitet in einem Krankenhaus."},
]


def ended(service: Service, location: str, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while (job := service.get(location).json)["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return job


def test_posted_pairs_are_evaluated_to_the_end(service: Service) -> None:
    posted = service.post(
        "/evaluations", {"task": "translation", "variants": ["original", "quantized"], "pairs": PAIRS}
    )
    job = ended(service, posted.headers["location"])

    assert posted.status == 202 and posted.json["status"] in ("queued", "running") and posted.json["progress"] < 1
    assert posted.headers["location"] == f"/evaluations/{posted.json['id']}"
    assert job["status"] == "succeeded" and job["progress"] == 1
    assert [result["variant"] for result in job["results"]] == ["original", "quantized"]
    for result in job["results"]:
        bleu = next(metric for metric in result["metrics"] if metric["metric"] == "bleu")
        assert bleu["samples"] == len(PAIRS) and "version" in bleu["signature"]
        assert bleu["interval"][0] <= bleu["value"] <= bleu["interval"][1]
        assert bleu["retention"] > 0
        if result["variant"] == "original":
            assert bleu["retention"] == 1


def test_the_bundled_sample_is_evaluated_by_name(service: Service) -> None:
    posted = service.post(
        "/evaluations", {"task": "summarization", "variants": ["quantized"], "dataset": "sample", "samples": 2}
    )
    job = ended(service, posted.headers["location"])

    assert job["status"] == "succeeded", job
    assert (job["dataset"], job["samples"]) == ("sample", 2)
    (result,) = job["results"]
    assert result["reference"] is None
    assert {metric["metric"] for metric in result["metrics"]} >= {"rouge1", "rouge2", "rougeL"}
    assert all(metric["retention"] is None for metric in result["metrics"])


def test_live_requests_are_answered_while_an_evaluation_runs_and_it_can_be_cancelled(service: Service) -> None:
    posted = service.post(
        "/evaluations",
        {
            "task": "translation",
            "variants": ["original", "quantized"],
            "pairs": [{**pair, "source": pair["source"] * 20} for pair in PAIRS * 20],
        },
    )
    live = service.post("/translate?variant=original", {"text": "Good morning."})
    cancelled = service.delete(posted.headers["location"])
    job = ended(service, posted.headers["location"])

    assert live.status == 200
    assert cancelled.json["status"] == job["status"] == "cancelled" and job["results"] is None
    after = service.post("/evaluations", {"task": "translation", "variants": ["quantized"], "pairs": PAIRS[:1]})
    assert ended(service, after.headers["location"])["status"] == "succeeded"


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"variants": ["original", "nope"]}, 404, "quantized"),
        ({"variants": []}, 422, "variants: needs at least 1"),
        ({"variants": ["original"] * 2}, 422, "twice"),
        ({"variants": [f"v{n}" for n in range(9)]}, 422, "variants: takes at most 8"),
        ({"task": "haiku"}, 422, "task"),
        ({"pairs": []}, 422, "pairs"),
        ({"pairs": None}, 422, "either dataset or pairs"),
        ({"dataset": "sample"}, 422, "either dataset or pairs"),
        ({"pairs": [{"source": "Yes."}]}, 422, "pairs[0] must have source and target"),
        ({"pairs": [{"document": "Yes.", "summary": "Yes."}]}, 422, "pairs[0] must have source and target"),
        ({"pairs": [{"source": "Yes.", "target": " "}]}, 422, "pairs[0].target must not be empty"),
        ({"pairs": [{"source": "Yes.", "target": 5}]}, 422, "pairs[0].target"),
        ({"pairs": PAIRS * 251}, 422, "at most 1000"),
        ({"pairs": None, "dataset": "sample", "samples": 0}, 422, "samples"),
        ({"pairs": None, "dataset": "sample", "samples": 1001}, 422, "at most 1000"),
        ({"pairs": None, "dataset": "/etc/passwd.jsonl"}, 422, "dataset: there is no"),
        ({"pairs": None, "dataset": "../sample.jsonl"}, 422, "dataset: there is no"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_refused(
    service: Service, change: dict[str, Any], status: int, said: str
) -> None:
    refused = service.post("/evaluations", {"task": "translation", "variants": ["original"], "pairs": PAIRS, **change})

    assert refused.status == status and said in refused.problem.detail


def test_an_unknown_evaluation_is_not_found(service: Service) -> None:
    assert service.get("/evaluations/nope").problem.type == "/problems/unknown-evaluation"
    assert service.delete("/evaluations/nope").status == 404
