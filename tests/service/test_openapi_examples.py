from typing import Any

import pytest

from tests.service.client import Service

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
    return [
        (path, example)
        for path, methods in document["paths"].items()
        for media_type, content in methods.get("post", {}).get("requestBody", {}).get("content", {}).items()
        if media_type != "multipart/form-data"
        for example in examples_of(document, content["schema"]["$ref"].rpartition("/")[2])
    ]


def test_every_example_of_a_request_is_answered(service: Service, document: dict[str, Any]) -> None:
    posted = bodies(document)
    sentence = {"text": "Good morning."}

    def to_judge() -> dict[str, str]:
        return {
            "response": service.post("/translate", sentence).json["id"],
            "comparison": service.post(f"/compare{QUERIES['/compare']}", sentence).json["id"],
        }

    for path, body in posted:
        if path == "/feedback":
            body |= {name: identifier for name, identifier in to_judge().items() if name in body}
        answer = service.post(path + QUERIES.get(path, ""), body)
        assert answer.status in (200, 201, 202), f"{path} {body}: {answer.text}"
        if path == "/experiments":
            # Other tests ask the same service without naming a variant.
            assert service.post(f"{answer.headers['location']}/stop", {}).status == 200
    assert {path for path, _ in posted} >= {"/translate", "/summarize", "/compare", "/evaluations", "/feedback"}


def test_the_examples_of_answers_have_the_fields_of_answers(service: Service, document: dict[str, Any]) -> None:
    body = examples_of(document, "TranslateRequest")[0]
    answer, problem = service.post("/translate", body).json, service.post("/translate?variant=tiny", body).json
    shown = examples_of(document, "GenerationResponse")[0]

    assert set(answer) >= set(shown)
    assert answer["outputs"][0]["text"] == shown["outputs"][0]["text"]
    assert problem == {**examples_of(document, "Problem")[0], "request_id": problem["request_id"]}
