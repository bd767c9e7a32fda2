"""The views of evaluations and experiments: start, watch, read, share."""

from typing import Any

from tests.service.client import Service
from tests.web.conftest import Visitor

PAIRS = '{"source": "Good morning.", "target": "Guten Morgen."}\nGood night.\tGute Nacht.'


def test_an_evaluation_is_started_watched_and_read(visitor: Visitor) -> None:
    page = visitor.open("evaluations")
    page.get_by_role("checkbox", name="compact").uncheck()
    page.get_by_label("Samples", exact=True).fill("4")

    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="BLEU").wait_for()

    text = page.locator("main").inner_text()
    assert visitor.serious_violations() == []
    assert "succeeded" in text and "4 samples" in text
    first = page.locator("table").first.inner_text()
    assert "original" in first and "quantized" in first


def test_own_pairs_are_evaluated(visitor: Visitor) -> None:
    page = visitor.open("evaluations")
    page.get_by_role("checkbox", name="compact").uncheck()
    page.get_by_role("checkbox", name="original").uncheck()
    page.get_by_role("radio", name="Own pairs").check()
    page.get_by_label("Pairs, one a line").fill(PAIRS)

    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="BLEU").wait_for()

    assert "2 own pairs" in page.locator("main").inner_text()


def test_a_pair_that_cannot_be_read_is_named(visitor: Visitor) -> None:
    page = visitor.open("evaluations")
    page.get_by_role("radio", name="Own pairs").check()
    page.get_by_label("Pairs, one a line").fill('Good night.\tGute Nacht.\n{"source": "Good morning."}')

    page.get_by_role("button", name="Start").click()

    assert "Line 2: needs the texts source and target." in page.get_by_role("alert").inner_text()


def test_a_rejected_evaluation_says_why(visitor: Visitor) -> None:
    page = visitor.open("evaluations")
    page.get_by_label("Name").fill("nope")

    page.get_by_role("button", name="Start").click()

    assert "there is no 'nope' here" in page.get_by_role("alert").inner_text()
    assert page.get_by_role("button", name="Start").is_enabled()


def test_evaluations_are_listed_and_open_by_their_address(visitor: Visitor, service: Service) -> None:
    body = {"task": "translation", "variants": ["quantized"], "dataset": "sample", "samples": 2}
    job = service.post("/evaluations", body).json
    page = visitor.open("evaluations")

    page.locator(f'a[href$="{job["id"]}"]').get_by_text("succeeded").wait_for()
    page.goto(f"{visitor.base}#/evaluations/{job['id']}")

    page.get_by_role("heading", name="chrF", exact=True).wait_for()


def test_an_evaluation_is_cancelled(visitor: Visitor, service: Service) -> None:
    body = {"task": "summarization", "variants": ["original"], "dataset": "sample", "samples": 40}
    job = service.post("/evaluations", body).json
    page = visitor.open(f"evaluations/{job['id']}")

    page.get_by_role("button", name="Cancel").click()

    page.get_by_text("cancelled", exact=True).wait_for()


def an_evaluation(**changes: object) -> dict[str, Any]:
    return {
        "id": "e1", "kind": "quality", "status": "succeeded", "progress": 1, "task": "translation", "samples": 40,
        "variants": ["original", "compact"], "created_at": "2026-11-28T02:00:00Z", "dataset": "sample", **changes,
    }  # fmt: skip


def test_a_gate_question_is_asked_and_answered(visitor: Visitor, service: Service) -> None:
    answer = {"variant": "compact", "reference": "original", "retention": 0.97, "verdict": "failed", "samples": 24}
    visitor.offer(service, fields={"EvaluationRequest": ["gate"]})
    visitor.answer("/evaluations", {"id": "e1", "evaluations": [], "next": None})
    visitor.answer("/evaluations/e1", an_evaluation(gate=[answer], evaluated=24, stopped_early=True))
    page = visitor.open("evaluations")
    page.get_by_role("switch").check()
    page.get_by_label("Retention that is asked for").fill("0.97")

    with page.expect_request(lambda request: request.method == "POST") as posted:
        page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="Gate").wait_for()

    text = page.locator("main").inner_text()
    assert (posted.value.post_data_json or {}).get("gate") == {"retention": 0.97}
    assert "compact does not keep 0.97 of original" in text
    assert "ended early, after 24 of 40 samples" in text


def test_latency_is_measured_as_a_job(visitor: Visitor, service: Service) -> None:
    measured = {
        "variant": "compact", "runtime": "ctranslate2", "batch": 1, "p50_ms": 4.0, "p95_ms": 6.5, "p99_ms": 7.0,
        "tokens_per_second": 2866.0,
    }  # fmt: skip
    visitor.offer(service, fields={"EvaluationRequest": ["latency"]})
    visitor.answer("/evaluations", {"id": "e1", "evaluations": [], "next": None})
    visitor.answer("/evaluations/e1", an_evaluation(kind="latency", latencies=[measured]))
    page = visitor.open("evaluations")
    page.get_by_role("radio", name="Latency").check()

    with page.expect_request(lambda request: request.method == "POST") as posted:
        page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="Latency").wait_for()

    assert (posted.value.post_data_json or {}).get("latency") == {}
    assert "6.5 ms" in page.locator("table").inner_text()


def test_the_outputs_of_an_evaluation_are_read_page_by_page(visitor: Visitor, service: Service) -> None:
    outputs = {"compact": {"text": "Morgen.", "score": 61.2}}
    sample = {"source": "Good <b>morning</b>.", "target": "Guten Morgen.", "outputs": outputs}
    visitor.offer(service, "get /evaluations/{identifier}/samples")
    visitor.answer("/evaluations/e1", an_evaluation())
    visitor.answer("/evaluations/e1/samples", {"samples": [sample] * 10, "next": 10})
    page = visitor.open("evaluations/e1")
    page.get_by_role("heading", name="Outputs").wait_for()

    with page.expect_request("**/samples?start=10*"):
        page.get_by_role("button", name="Show more").click()
    page.locator(".output-list > li").nth(19).wait_for()

    assert page.get_by_text("Good <b>morning</b>.").count() == 20
    assert "Morgen. 61.2" in page.locator(".output-list").inner_text()


def test_older_evaluations_are_shown_on_request(visitor: Visitor) -> None:
    visitor.answer("/evaluations", {"evaluations": [an_evaluation()], "next": 7})
    page = visitor.open("evaluations")

    with page.expect_request("**/evaluations?before=7"):
        page.get_by_role("button", name="Show older").click()

    page.locator(".job").nth(1).wait_for()


def an_experiment(**changes: object) -> dict[str, Any]:
    arms = [
        {
            "variant": name,
            "weight": 1,
            "requests": 200 + index,
            "errors": 0,
            "latency_ms": {"p50": 20.0, "p95": 41.0},
            "rating": {"value": 0.65 - index / 5, "interval": [0.5 - index / 5, 0.8 - index / 5], "samples": 120},
        }
        for index, name in enumerate(("original", "compact"))
    ]
    return {
        "id": "e1", "task": "translation", "name": "compact for all", "status": "running", "margin": 0.02,
        "created_at": "2026-11-28T02:00:00Z", "arms": arms, "verdict": "No arm is ahead yet.", **changes,
    }  # fmt: skip


def test_an_experiment_is_started_read_and_stopped(visitor: Visitor, service: Service) -> None:
    visitor.offer(service, "get /experiments")
    visitor.answer("/experiments", {"id": "e1", "experiments": []})
    visitor.answer("/experiments/e1", an_experiment())
    visitor.answer("/experiments/e1/stop", an_experiment(status="stopped"))
    page = visitor.open("experiments")
    page.get_by_label("Name").fill("compact for all")

    with page.expect_request(lambda request: request.method == "POST") as posted:
        page.get_by_role("button", name="Start").click()
    page.get_by_text("No arm is ahead yet.").wait_for()
    text = page.locator("main").inner_text()
    violations = visitor.serious_violations()
    visitor.answer("/experiments/e1", an_experiment(status="stopped"))
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("stopped", exact=True).wait_for()

    assert posted.value.post_data_json == {
        "task": "translation", "name": "compact for all", "margin": 0.02,
        "arms": [{"variant": "original", "weight": 1}, {"variant": "compact", "weight": 1}],
    }  # fmt: skip
    assert violations == []
    assert "50 %" in text and "201" in text and "0.650 0.500 to 0.800" in text


def test_experiments_are_listed(visitor: Visitor, service: Service) -> None:
    visitor.offer(service, "get /experiments")
    visitor.answer("/experiments", {"experiments": [an_experiment()]})

    page = visitor.open("experiments")

    assert "compact for all" in page.get_by_role("link", name="compact for all").inner_text()
