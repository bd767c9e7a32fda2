"""Agreement on live traffic: what the service measures when the reference answers requests again."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from prometheus_client.parser import text_string_to_metric_families

from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import MeanAgreement, QualityScore, Task
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.service.client import Service
from tests.service.conftest import running_service

PATHS = {Task.TRANSLATION: "/translate", Task.SUMMARIZATION: "/summarize"}
MEASURED_SECONDS = 240.0


def quality_of(service: Service, task: Task, variant: str) -> Any:
    [found] = service.get(f"/quality?task={task.value}&variant={variant}").json["qualities"]
    return found


def metric(service: Service, name: str, **labels: str) -> float | None:
    """Returns a sample of `GET /metrics`, None if there is none."""
    for family in text_string_to_metric_families(service.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def live_agreement(service: Service, task: Task, variant: str, outputs: int) -> Any:
    """Waits until so many outputs are compared; returns the agreement then."""
    ends = time.monotonic() + MEASURED_SECONDS
    while True:
        found = quality_of(service, task, variant)["live_agreement"]
        if (found and found["outputs"] >= outputs) or time.monotonic() > ends:
            return found
        time.sleep(0.1)


def translate_all(service: Service, task: Task, variant: str, sources: list[str], at_once: int = 8) -> Any:
    """Sends texts in single requests, no faster than they are compared; returns the agreement at the end."""
    for number, source in enumerate(sources, 1):
        assert service.post(f"{PATHS[task]}?variant={variant}", {"text": source}).status == 200
        if number % at_once == 0:
            live_agreement(service, task, variant, number)
    return live_agreement(service, task, variant, len(sources))


@pytest.mark.parametrize(("task", "variant", "samples"), [("translation", "compact", 24), ("translation", "quantized", 24)])
def test_live_agreement_on_the_bundled_samples_is_what_evaluate_says(
    embedded: Store, log: Path, task: str, variant: str, samples: int
) -> None:
    evaluated = compression("evaluate", task, variant, "--samples", samples, "--json").json
    offline = next(each["agreement"] for each in evaluated["variants"] if each["variant"] == variant)
    sources = [example.source for example in load_examples(Task(task), "sample", samples=samples).examples]

    with running_service(log, store=embedded.root, shadow_share=1) as service:
        service.wait_until_ready()
        live = translate_all(service, Task(task), variant, sources)

        assert (live["outputs"], live["metric"]) == (samples, offline["metric"])
        assert live["exact"] == pytest.approx(offline["exact"])
        assert live["similarity"] == pytest.approx(offline["similarity"])
        assert live["interval"][0] < live["similarity"] <= live["interval"][1]
