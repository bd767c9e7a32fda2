"""One story: compare and vote, evaluate, restart, read it again, and let an experiment say which variant is ahead."""

import random
import time
from pathlib import Path
from typing import Any

from tests.service.client import Service
from tests.service.conftest import running_service

SENTENCE = {"text": "The children are playing in the garden.", "num_beams": 1}
VARIANTS = ("original", "quantized")
VOTES = 80


def evaluated(service: Service) -> Any:
    order = {"task": "translation", "variants": VARIANTS, "dataset": "sample", "samples": 8}
    posted = service.post("/evaluations", order)
    assert posted.status == 202, posted.text
    deadline = time.monotonic() + 240
    while (job := service.get(posted.headers["location"]).json)["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.2)
    return job


def test_a_variant_is_compared_voted_on_evaluated_and_put_to_an_experiment(tmp_path: Path, log: Path) -> None:
    database = f"sqlite:///{tmp_path / 'slimseq.db'}"
    with running_service(log, database_url=database) as service:
        service.wait_until_ready()
        texts = {
            variant: service.post(f"/translate?variant={variant}", SENTENCE).json["outputs"][0]["text"]
            for variant in VARIANTS
        }
        comparison = service.post(f"/compare?task=translation&variant={VARIANTS[0]}&variant={VARIANTS[1]}", SENTENCE)
        voted = service.post("/feedback", {"comparison": comparison.json["id"], "preferred": "quantized"})
        job = evaluated(service)

    first, second = comparison.json["results"]
    assert [each["outputs"][0]["text"] for each in (first, second)] == list(texts.values())
    assert "agreement" not in first and second["agreement"]["reference"] == "original"
    assert "".join(part["text"] for part in second["diff"][0] if part["op"] != "delete") == texts["quantized"]
    assert voted.status == 201
    assert job["status"] == "succeeded"
    assert [each["variant"] for each in job["results"]] == list(VARIANTS)

    with running_service(log, database_url=database) as service:
        service.wait_until_ready()
        again = service.get(f"/evaluations/{job['id']}").json
        order = {"task": "translation", "name": "quantized?", "arms": [{"variant": each} for each in VARIANTS]}
        experiment = service.post("/experiments", order).json["id"]
        draw = random.Random(0)
        for _ in range(VOTES):
            response = service.post("/translate", SENTENCE).json
            liked = draw.random() < (0.95 if response["variant"] == "quantized" else 0.05)
            service.post("/feedback", {"response": response["id"], "rating": float(liked)})
        report = service.get(f"/experiments/{experiment}").json

    assert again == job
    assert sum(arm["ratings"]["count"] for arm in report["arms"]) == VOTES
    assert report["conclusion"]["arm"] == "quantized"
