"""The documents are true: requests of README and the guides, programs, tables, and examples of the OpenAPI document."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slimseq.models_store.places import embedded_store
from tests.service.client import Service
from tests.service.conftest import running_service

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REQUESTS_GUIDE = (ROOT / "docs/guides/requests.md").read_text(encoding="utf-8")
TEXTS_GUIDE = (ROOT / "docs/guides/texts.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs/results.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:8000"
# A block of commands, and the answer that README may show right after it.
BLOCK = re.compile(r"```bash\n(?P<command>curl .*?)```(?:\n\n```json\n(?P<answer>.*?)```)?", re.DOTALL)
# Commands and answers: all of README, and those of the guides that show an answer.
REQUESTS = [
    (found["command"], found["answer"])
    for page in (README, REQUESTS_GUIDE, TEXTS_GUIDE)
    for found in BLOCK.finditer(page)
    if page is README or found["answer"]
]
# Rows of the guide's table: a source, and its translations without and with protected facts.
FACTS_TABLE = TEXTS_GUIDE.partition("unedited:")[2].partition("\n`python")[0]
FACTS = re.findall(r"^\| ([A-Z].+) \| (.+) \| (.+) \|$", FACTS_TABLE, re.M)
# A row of the table of samples: a source, and its translation into Portuguese. One of the everyday sentences says
# what is wrong too.
EVERYDAY, _, PAGE_SAMPLES = RESULTS.partition("## Fifty everyday sentences")[2].partition("## The samples of the page")
SAMPLES = re.findall(r"^\| ([A-Z].+) \| (.+) \|$", PAGE_SAMPLES, re.M)
SENTENCES = re.findall(r"^\| ([A-Z].+) \| (.+) \| (.*) \|$", EVERYDAY, re.M)


@pytest.fixture(scope="module")
def whole(prepared: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that `make run` starts, with both translators."""
    with running_service(tmp_path_factory.mktemp("whole") / "log", store=embedded_store()) as running:
        yield running


@pytest.mark.parametrize(("command", "answer"), REQUESTS, ids=[f"request{number}" for number in range(len(REQUESTS))])
def test_a_request_of_readme_answers_as_it_says(whole: Service, command: str, answer: str | None) -> None:
    assert ADDRESS in command

    done = subprocess.run(
        ["bash", "-ec", command.replace(ADDRESS, f"127.0.0.1:{whole.port}")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    answered = json.loads(done.stdout)
    assert "status" not in answered or answered["status"] in ("queued", "running"), answered
    if answer is not None:
        assert texts(answered) == texts(json.loads(answer))


def test_a_target_selects_one_of_both_translators(whole: Service) -> None:
    for query, target, variant in (
        ("?target=pt", None, "portuguese-quantized"),
        ("?target=de", None, "quantized"),
        ("?target=pt", "de", "quantized"),
        ("", None, "portuguese-quantized"),
    ):
        answer = whole.post(f"/translate{query}", {"text": "Good morning.", "target": target})
        assert answer.json["variant"] == variant


def test_a_summary_has_no_target(whole: Service) -> None:
    summarized = whole.post("/summarize?target=pt", {"text": "Good morning."})

    assert summarized.status == 422
    assert "'target': is not one of this endpoint's" in summarized.problem.detail


@pytest.mark.parametrize(("source", "plain", "protected"), FACTS)
def test_the_table_of_facts_has_what_is_answered(service: Service, source: str, plain: str, protected: str) -> None:
    answers = (
        service.post("/translate?variant=quantized", {"text": source, "protect": each}) for each in (False, True)
    )

    assert [answer.json["outputs"][0]["text"] for answer in answers] == [plain, protected]


def test_samples_are_translated_as_the_results_show(whole: Service) -> None:
    shown = SAMPLES + [(source, output) for source, output, _ in SENTENCES]
    sources, targets = zip(*shown, strict=True)

    answer = whole.post("/translate?variant=portuguese", {"text": [*sources]})

    assert tuple(texts(answer.json)) == targets
    assert len(sources) == 60


def test_the_results_show_all_everyday_sentences_and_how_many_outputs_are_wrong() -> None:
    lines = (ROOT / "models_store/training/everyday.txt").read_text(encoding="utf-8").splitlines()

    assert [source for source, _, _ in SENTENCES] == lines
    assert sum(bool(wrong) for _, _, wrong in SENTENCES) == 5
    assert "Five outputs are wrong" in EVERYDAY


def test_samples_of_the_results_are_those_of_the_page() -> None:
    page = (ROOT / "app/slimseq/app/web/static/text/samples.js").read_text(encoding="utf-8")

    assert [source for source, _ in SAMPLES if json.dumps(source) not in page] == []


def test_readme_shows_requests_and_answers() -> None:
    assert len(FACTS) == 9
    assert any(answer for _, answer in REQUESTS)


def texts(answer: Any) -> Any:
    """The generated texts of an answer. Its digests and times depend on the machine."""
    if "results" in answer:
        return [texts(each) for each in answer["results"]]
    return [output["text"] for output in answer["outputs"]]


# The guide to clients, with programs.
PROGRAMS = (ROOT / "docs" / "guides" / "clients.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PROGRAMS, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_of_the_guide_runs(service: Service, example: str) -> None:
    code = example.replace(":8000", f":{service.port}")
    assert code != example

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)

    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) >= 2


# Query parameters that a path requires.
QUERIES = {"/compare": "?task=translation&variant=original&variant=quantized"}


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/openapi.json").json
    return found


def examples_of(document: dict[str, Any], schema: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["components"]["schemas"][schema]["examples"]
    return found


def bodies(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Returns the path and the body of each example of a request."""
    found = []
    for path, methods in document["paths"].items():
        body = methods.get("post", {}).get("requestBody", {})
        content = body.get("content", {}).get("application/json")
        if content is not None:
            schema = content["schema"]["$ref"].rpartition("/")[2]
            found += [(path, example) for example in examples_of(document, schema)]
    return found


def test_every_example_of_a_request_is_answered(service: Service, document: dict[str, Any]) -> None:
    posted = bodies(document)
    sentence = {"text": "Good morning."}

    def ids_to_rate() -> dict[str, str]:
        return {
            "response": service.post("/translate", sentence).json["id"],
            "comparison": service.post(f"/compare{QUERIES['/compare']}", sentence).json["id"],
        }

    for path, body in posted:
        if path == "/feedback":
            body |= {name: identifier for name, identifier in ids_to_rate().items() if name in body}
        answer = service.post(path + QUERIES.get(path, ""), body)
        assert answer.status in (200, 201, 202), f"{path} {body}: {answer.text}"
        if path == "/experiments":
            # Other tests ask the same service without naming a variant.
            assert service.post(f"{answer.headers['location']}/stop", {}).status == 200
    assert {path for path, _ in posted} >= {"/translate", "/summarize", "/compare", "/evaluations", "/feedback"}


def test_the_examples_of_answers_have_the_fields_of_answers(service: Service, document: dict[str, Any]) -> None:
    body = examples_of(document, "TranslateRequest")[0]
    answer = service.post("/translate", body).json
    problem = service.post("/translate?variant=tiny", body).json
    shown = examples_of(document, "GenerationResponse")[0]

    assert set(answer) >= set(shown)
    assert answer["outputs"][0]["text"] == shown["outputs"][0]["text"]
    assert problem == {**examples_of(document, "Problem")[0], "request_id": problem["request_id"]}
