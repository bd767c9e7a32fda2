"""A tokenizer of a stranger that makes its library panic is refused, and harms no other variant.

Here the tokenizer fails when the variant is loaded, because it is tried then. Panics while a request is generated are
tested with a double in `tests/app/serving/batching/test_failing_workers.py`.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.damage import add_panic
from tests.service.conftest import running_service
from tests.service.test_evaluations import wait_for_evaluation

SENTENCE = {"text": "The old man walks along the river and looks at the birds in the garden."}
POISONED = "/translate?variant=quantized"


def poison(store: Path) -> None:
    add_panic(store / "translation" / "quantized")


def logged_statuses(log: Path) -> list[int]:
    """The statuses of the requests for a translation. The library writes lines of its own, which are no JSON."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["status"] for line in lines if line.get("route", "").endswith("/translate")]


def test_each_request_is_answered_with_a_problem_and_the_others_are_served(store: Path, log: Path) -> None:
    poison(store)
    with running_service(log, store=store, default_translation="original", request_timeout_seconds=30) as service:
        started = time.monotonic()
        failed = [service.post(POISONED, SENTENCE) for _ in range(5)]
        seconds = time.monotonic() - started
        others = [service.post("/translate", SENTENCE), service.post("/summarize", SENTENCE)]
        readiness = service.get("/readyz")

    assert {answer.problem.status for answer in failed} == {503}
    assert "tokenizer.json does not work" in failed[0].problem.detail
    assert seconds < 30, "a request has waited for its deadline"
    assert [answer.status for answer in others] == [200, 200]
    assert readiness.status == 200
    assert logged_statuses(log) == [503] * 5 + [200]


def test_streams_comparisons_and_other_dialects_have_errors_of_their_own_form(store: Path, log: Path) -> None:
    poison(store)
    with running_service(log, store=store, default_translation="quantized") as service:
        streamed = service.post(POISONED, {**SENTENCE, "stream": True})
        compared = service.post("/compare?task=translation&variant=original&variant=quantized", SENTENCE)
        body = {"q": SENTENCE["text"], "source": "en", "target": "de"}
        libretranslate = service.post("/libretranslate/translate", body)
        hugging_face = service.post("/huggingface/translate", {"inputs": SENTENCE["text"]})

    if streamed.status == 200:
        name, problem = streamed.events[-1]
        assert name == "error"
        assert problem["status"] == 503
    else:
        assert streamed.problem.status == 503
    results = {each["variant"]: each for each in compared.json["results"]}
    assert "outputs" in results["original"]
    assert results["quantized"]["error"]["status"] == 503
    assert libretranslate.status == hugging_face.status == 503
    assert "error" in libretranslate.json
    assert "error" in hugging_face.json


def test_an_evaluation_of_such_a_variant_fails_and_says_so(store: Path, log: Path) -> None:
    poison(store)
    pair: dict[str, Any] = {"source": SENTENCE["text"], "target": "Der alte Mann geht am Fluss entlang."}
    with running_service(log, store=store, default_translation="original") as service:
        body = {"task": "translation", "variants": ["quantized"], "pairs": [pair]}
        location = service.post("/evaluations", body).headers["location"]
        job = wait_for_evaluation(service, location)

    assert job["status"] == "failed"
    assert job["error"]["status"] == 503


def test_a_panic_writes_no_backtrace_whatever_the_environment_says(
    store: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUST_BACKTRACE", "1")
    poison(store)
    with running_service(log, store=store, default_translation="original") as service:
        answer = service.post(POISONED, SENTENCE)

    assert answer.status == 503
    # The debug information that a backtrace is made from would stay in memory.
    assert "panicked at" in log.read_text()
    assert "stack backtrace" not in log.read_text()
