"""The OpenAPI document says everything that clients need of every operation, and is the one that is checked in."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from docs.openapi import PATH, current
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
    # Of two documents this large, pytest would take minutes to say where they differ.
    is_same = json.loads(PATH.read_text(encoding="utf-8")) == document

    assert is_same, "the HTTP contract changed; if that is intended: make reference"


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_every_operation_has_a_stable_id_a_summary_a_description_and_a_tag_that_is_described(
    document: dict[str, Any],
) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", each) for each in ids)
    for _, path, operation in operations(document):
        assert operation["summary"] and operation["description"], path
        assert set(operation["tags"]) <= tags, path


def test_every_parameter_is_described_and_those_of_the_path_are_required(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        parameters = operation.get("parameters", [])
        in_path = [each for each in parameters if each["in"] == "path"]

        assert all(each["description"] and each["schema"] for each in parameters), f"{method} {path}"
        assert {each["name"] for each in in_path} == set(re.findall(r"{(\w+)}", path))
        assert all(each["required"] for each in in_path), f"{method} {path}"


def test_every_answer_says_what_it_is_and_has_a_schema(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        (status, answer), *others = [each for each in operation["responses"].items() if int(each[0]) < 300]

        assert not others, f"{method} {path}"
        # FastAPI's own description says nothing.
        assert answer["description"] not in ("", "Successful Response"), f"{method} {path}"
        contents = answer.get("content", {}).values()
        assert (status == "204") == (not contents), f"{method} {path}"
        assert all(content["schema"] for content in contents), f"{method} {path}"


def test_every_operation_has_the_statuses_that_any_request_may_get(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        statuses = {int(status) for status in operation["responses"]}

        assert statuses >= {400, 408, 422, 431, 500, 503}, f"{method} {path}"
        assert method != "post" or statuses >= {413, 415, 429}, f"{method} {path}"
        assert "{" not in path or 404 in statuses, f"{method} {path}"
        assert (403 in statuses) == ("security" in operation), f"{method} {path}"
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_reference_leads_somewhere_and_every_component_is_used(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(document)))
    components = {f"{kind}/{name}" for kind, named in document["components"].items() for name in named}

    assert references == {each for each in components if not each.startswith("securitySchemes/")}


def test_no_schema_has_the_name_of_a_module(document: dict[str, Any]) -> None:
    """Two classes of one name get the names of their modules, and generated clients have classes of such names."""
    assert [name for name in document["components"]["schemas"] if "__" in name] == []


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


def test_operations_say_whether_they_need_a_key_always_or_only_where_there_are_keys(document: dict[str, Any]) -> None:
    security_of = {operation["operationId"]: operation.get("security") for _, _, operation in operations(document)}

    always = {name for name, security in security_of.items() if security == [{"key": []}]}
    experiments = {f"{verb}_experiment" for verb in ("start", "stop", "delete")}
    assert always == {"load_variant", "unload_variant", "promote_arm"} | experiments
    never = {name for name, security in security_of.items() if security is None}
    assert never == {"health", "readiness"}
    assert all(security == [{"key": []}, {}] for name, security in security_of.items() if name not in always | never)
