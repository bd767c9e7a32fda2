from typing import Any
from urllib.parse import urlencode

import pytest

from slimseq.app.http.examples import SCHEMAS
from tests.service.client import Service

FORM = "application/x-www-form-urlencoded"
QUERIES = {"/compare": "?task=translation&variant=original&variant=quantized"}


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/openapi.json").json
    return found


def examples(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns the path, the media type and the body of each example of a request."""
    return [
        (path, media_type, example)
        for path, methods in document["paths"].items()
        for media_type, content in methods.get("post", {}).get("requestBody", {}).get("content", {}).items()
        if media_type != "multipart/form-data"
        for each in content["schema"].get("oneOf", [content["schema"]])
        for example in document["components"]["schemas"][each["$ref"].rpartition("/")[2]]["examples"]
    ]


def test_every_example_of_a_request_is_answered(service: Service, document: dict[str, Any]) -> None:
    posted = examples(document)

    def to_judge() -> dict[str, str]:
        return {
            "response": service.post("/translate", SCHEMAS["TranslateRequest"][0]).json["id"],
            "comparison": service.post(f"/compare{QUERIES['/compare']}", SCHEMAS["CompareRequest"][0]).json["id"],
        }

    for path, media_type, body in posted:
        if path == "/feedback":
            body |= {name: identifier for name, identifier in to_judge().items() if name in body}
        data = urlencode(body).encode() if media_type == FORM else None
        target = path + QUERIES.get(path, "")
        answer = service.send("POST", target, data, {"Content-Type": FORM}) if data else service.post(target, body)
        assert answer.status in (200, 201, 202), f"{path} {body}: {answer.text}"
        if path == "/experiments":
            # Other tests ask the same service without naming a variant.
            assert service.post(f"{answer.headers['location']}/stop", {}).status == 200
    assert {path for path, _, _ in posted} >= {"/translate", "/summarize", "/compare", "/detect", "/evaluations"}


def test_the_examples_of_answers_have_the_fields_of_answers(service: Service) -> None:
    answer = service.post("/translate", SCHEMAS["TranslateRequest"][0]).json
    problem = service.post("/translate?variant=tiny", SCHEMAS["TranslateRequest"][0]).json

    assert set(answer) >= set(SCHEMAS["GenerationResponse"][0])
    assert answer["outputs"][0]["text"] == SCHEMAS["GenerationResponse"][0]["outputs"][0]["text"]
    assert problem == {**SCHEMAS["Problem"][0], "request_id": problem["request_id"]}
