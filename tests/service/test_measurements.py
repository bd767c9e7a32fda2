"""What the service measures and reports: `/quality`, `/metrics` and `/info`."""

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import Task
from tests.service.client import Service, eventually

Labels = tuple[tuple[str, str], ...]
Samples = Mapping[tuple[str, Labels], float]

# How long a scrape may lack a request: it is counted after its answer has been sent.
COUNTED_SECONDS = 10.0


def samples(service: Service) -> Samples:
    """Returns the samples of `GET /metrics` by name and labels."""
    families = text_string_to_metric_families(service.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def samples_with(service: Service, counted: Samples) -> Samples:
    """Scrapes until these samples have at least these values. Returns the last scrape, whether they have or not."""

    def have_grown(found: Samples) -> bool:
        return all(found.get(key, 0) >= value for key, value in counted.items())

    return eventually(lambda: samples(service), have_grown, COUNTED_SECONDS)


def labels_of(task: str, variant: str) -> Labels:
    return (("task", task), ("variant", variant))


def test_quality_is_what_the_manifests_record(service: Service) -> None:
    qualities = service.get("/quality?detail=full").json["qualities"]

    assert {(each["task"], each["variant"]) for each in qualities} >= {
        (task, variant) for task in ("summarization", "translation") for variant in ("original", "quantized")
    }
    for each in qualities:
        manifest = service.get(f"/variants/{each['task']}/{each['variant']}").json["manifest"]
        assert each["scores"] == manifest["quality"]
        assert each["digest"] == manifest["digest"]
        assert each["reference"]["variant"] == "original"
        if each["variant"] == "original":
            assert each["retention"]["value"] == 1.0
        if manifest["gate"] is None:
            assert each["gate"] == {"verdict": "none", "checks": []}
        else:
            assert each["gate"] == {"verdict": manifest["gate"]["status"], "checks": manifest["gate"]["checks"]}


def test_quality_is_short_and_of_what_is_asked_for(service: Service) -> None:
    everything = service.get("/quality").json["qualities"]
    of_task = service.get("/quality?task=translation").json["qualities"]
    [of_variant] = service.get("/quality?task=translation&variant=pruned").json["qualities"]
    of_name = service.get("/quality?variant=pruned").json["qualities"]

    assert all(each["scores"] is None for each in everything)
    assert of_task == [each for each in everything if each["task"] == "translation"]
    assert of_variant in of_task
    assert of_variant["variant"] == "pruned"
    low, high = of_variant["retention"]["interval"]
    assert low <= of_variant["retention"]["value"] <= high
    assert [each["task"] for each in of_name] == ["summarization", "translation"]


def test_a_greedy_summary_that_copies_takes_several_tokens_a_step_unless_told_not_to(service: Service) -> None:
    body = {"text": load_examples(Task.SUMMARIZATION, "sample").examples[0].source, "num_beams": 1}
    labels = labels_of("summarization", "original")

    outputs, accepted = [], []
    for query in ("", "&speculate=false"):
        before = samples(service).get(("slimseq_accepted_tokens_per_step_sum", labels), 0)
        answer = service.post(f"/summarize?variant=original&runtime=onnxruntime{query}", body)
        outputs.append(answer.json["outputs"])
        accepted.append(samples(service)["slimseq_accepted_tokens_per_step_sum", labels] - before)

    assert outputs[0] == outputs[1]
    assert outputs[0][0]["output_tokens"] > 5
    assert accepted[0] > 2
    assert accepted[1] == pytest.approx(1)


def test_prometheus_counts_requests_and_tokens(service: Service) -> None:
    route = (("method", "POST"), ("route", "/translate"))
    answered, refused = (("slimseq_requests_total", (*route, ("status", status))) for status in ("2xx", "4xx"))
    first = samples(service)
    answer = service.post("/translate?variant=quantized", {"text": "Good morning."})
    before = samples_with(service, {answered: first.get(answered, 0) + 1})

    service.post("/translate?variant=quantized", {"text": "Good morning."})
    service.post("/translate", {"text": ""})
    service.send("POST", "/translate", b"x" * 9_000_000, {"Content-Type": "application/json"})

    after = samples_with(service, {answered: before[answered] + 1, refused: before.get(refused, 0) + 2})
    labels = labels_of("translation", "quantized")
    (output,) = answer.json["outputs"]

    def grown(name: str, labels: Labels) -> float:
        return after[name, labels] - before.get((name, labels), 0)

    assert grown("slimseq_input_tokens_total", labels) == output["input_tokens"]
    assert grown("slimseq_output_tokens_total", labels) == output["output_tokens"]
    assert grown("slimseq_inference_duration_seconds_count", labels) == 1
    assert grown("slimseq_queue_wait_seconds_count", labels) == 1
    assert grown("slimseq_generation_duration_seconds_count", labels) == 1
    parts = grown("slimseq_queue_wait_seconds_sum", labels) + grown("slimseq_inference_duration_seconds_sum", labels)
    assert 0 < parts <= grown("slimseq_generation_duration_seconds_sum", labels)
    to_first = grown("slimseq_time_to_first_token_seconds_sum", labels)
    further = grown("slimseq_time_per_output_token_seconds_sum", labels) * (output["output_tokens"] - 1)
    assert 0 < to_first < parts
    assert to_first + further == pytest.approx(parts)
    assert grown(*answered) == 1
    assert grown(*refused) == 2
    assert grown("slimseq_rejected_total", (("reason", "invalid-request"),)) == 1
    assert grown("slimseq_rejected_total", (("reason", "payload-too-large"),)) == 1
    assert after["slimseq_variant_loaded", labels] == 1
    assert after["slimseq_variant_resident_bytes", labels] >= 0
    assert after["slimseq_variant_load_seconds", labels] > 0
    assert any(name == "slimseq_build_info" for name, _ in after)
    assert after["process_resident_memory_bytes", ()] > 0


def test_info_tells_versions_and_digests(service: Service) -> None:
    info = service.get("/info").json

    assert info["limits"]["max_texts"] == 64
    assert info["limits"]["queue_rows"] == 4096
    assert info["libraries"]["onnxruntime"]
    assert info["host"]["cores"] >= 1
    digests = {(each["task"], each["variant"]): each["digest"] for each in info["artifacts"]}
    assert digests["translation", "original"] == service.get("/variants/translation/original").json["digest"]
