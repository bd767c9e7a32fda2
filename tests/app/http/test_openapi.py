import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from docs.openapi import checked_in, current, differences
from slimseq.app.http.problems import PROBLEM_TYPES

Operation = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return current()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_checked_in_document_is_that_of_the_routes(document: dict[str, Any]) -> None:
    changed = list(differences(checked_in(), document))

    assert not changed, "the HTTP contract changed; if that is intended: make openapi\n" + "\n".join(changed)


def test_a_difference_is_named_with_its_place(document: dict[str, Any]) -> None:
    other = copy.deepcopy(document)
    other["paths"]["/translate"]["post"]["summary"] = "Translate"
    del other["components"]["schemas"]["Output"]
    other["paths"]["/new"] = {}

    assert list(differences(document, other)) == [
        "removed /components/schemas/Output",
        "added   /paths/~1new",
        'changed /paths/~1translate/post/summary: "Translate texts" -> "Translate"',
    ]


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_every_operation_has_a_stable_id_a_summary_a_description_and_a_tag_that_is_described(
    document: dict[str, Any],
) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-z]+(_[a-z]+)*", each) for each in ids)
    for _, path, operation in operations(document):
        assert operation["summary"] and operation["description"], path
        assert set(operation["tags"]) <= tags, path


def test_every_error_is_a_problem_and_every_status_of_a_problem_is_documented(document: dict[str, Any]) -> None:
    seen = set()
    for _, path, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            seen.add(int(status))
            reference = response.get("$ref", "").rpartition("/")[2]
            content = document["components"]["responses"][reference]["content"] if reference else response["content"]
            assert "application/problem+json" in content, f"{path} {status}"

    # 405 is the answer where there is no operation.
    assert {found.status for found in PROBLEM_TYPES.values()} - {405} == seen


def test_every_body_that_is_posted_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if media_type == "multipart/form-data":
                # Its fields are described one by one.
                continue
            for each in content["schema"].get("oneOf", [content["schema"]]):
                schema = document["components"]["schemas"][each["$ref"].rpartition("/")[2]]
                assert schema["examples"], path
                for example in schema["examples"]:
                    assert set(schema.get("required", ())) <= set(example) <= set(schema["properties"]), path


def test_links_lead_to_operations_with_such_parameters(document: dict[str, Any]) -> None:
    parameters = {
        operation["operationId"]: {each["name"] for each in operation.get("parameters", ())}
        for _, _, operation in operations(document)
    }
    links = [
        link
        for _, _, operation in operations(document)
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]

    assert links
    for link in links:
        assert set(link["parameters"]) <= parameters[link["operationId"]]


def test_operators_calls_are_marked(document: dict[str, Any]) -> None:
    marked = {operation["operationId"] for _, _, operation in operations(document) if "security" in operation}

    assert marked == {"load_variant", "unload_variant", "start_experiment", "stop_experiment", "delete_experiment"}
