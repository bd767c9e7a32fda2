"""JSON types are strict: no string is read as a number, and no number as a boolean. The error names the field."""

from typing import Any

import pytest

from tests.service.client import Service

pytestmark = pytest.mark.usefixtures("goes_on")

TEXT = {"text": "Good morning."}
ARMS = [{"variant": "original"}, {"variant": "quantized"}]
# A good body for each path. A test adds one value of a wrong type.
BODIES: dict[str, dict[str, Any]] = {
    "/translate": TEXT,
    "/summarize": TEXT,
    "/compare?task=translation&variant=original&variant=quantized": TEXT,
    "/huggingface/translate": {"inputs": "Good morning."},
    "/feedback": {"response": "an id"},
    "/experiments": {"task": "translation", "name": "Which one?", "arms": ARMS},
    "/evaluations": {"task": "translation", "variants": ["original"], "dataset": "sample"},
}


@pytest.mark.parametrize("path", [path for path in BODIES if path != "/huggingface/translate"])
@pytest.mark.parametrize("value", ["0.5", "1", True, [1]])
def test_a_number_is_neither_a_string_nor_a_boolean_nor_a_list(service: Service, path: str, value: Any) -> None:
    names = {"/feedback": "rating", "/experiments": "margin", "/evaluations": "samples"}
    name = names.get(path, "length_penalty")

    refused = service.post(path, {**BODIES[path], name: value})

    assert refused.status == 422, refused.text
    assert refused.problem.detail.startswith(name), refused.text


@pytest.mark.parametrize(
    ("path", "name"),
    [("/translate", "stream"), ("/translate", "protect"), ("/summarize", "repair"), ("/experiments", "drop_losing")],
)
@pytest.mark.parametrize("value", ["true", "yes", 1, 0])
def test_a_boolean_is_neither_a_string_nor_a_number(service: Service, path: str, name: str, value: Any) -> None:
    refused = service.post(path, {**BODIES[path], name: value})

    assert refused.status == 422, refused.text
    assert refused.problem.detail.startswith(name), refused.text


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/experiments", {"arms": [{"variant": "original", "weight": "2"}, {"variant": "quantized"}]}),
        ("/experiments", {"arms": [{"variant": 1}, {"variant": "quantized"}]}),
        ("/experiments", {"name": 1}),
        ("/experiments", {"task": 1}),
        ("/feedback", {"response": 1, "rating": 1}),
        ("/evaluations", {"dataset": 1}),
        ("/huggingface/translate", {"parameters": {"num_beams": "4"}}),
        ("/huggingface/translate", {"parameters": {"generate_parameters": {"num_beams": True}}}),
        ("/translate", {"stop": 1}),
        ("/translate", {"keep": "Slimseq"}),
        ("/translate", {"glossary": {"invoice": 1}}),
    ],
)
def test_values_of_other_types_deeper_in_a_body_are_refused(
    service: Service, path: str, changes: dict[str, Any]
) -> None:
    refused = service.post(path, {**BODIES[path], **changes})

    assert refused.status == 422, refused.text


def test_a_dialect_whose_forms_have_numbers_as_strings_takes_no_boolean_for_one(service: Service) -> None:
    body = {"q": "Good morning.", "source": "en", "target": "de"}

    refused = service.post("/libretranslate/translate", {**body, "alternatives": True})
    served = service.post("/libretranslate/translate", {**body, "alternatives": "1"})

    assert refused.status == 400
    assert "alternatives parameter is not a number" in refused.json["error"]
    assert served.status == 200
