"""The OpenAPI document: what FastAPI writes from the routes, and what it cannot know.

That is: errors as `application/problem+json` with every status, requests of other APIs on our paths, examples, links
from an answer to the next call, headers and keys. `python -m docs.openapi` writes it to a file.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from slimseq.app.http import examples
from slimseq.app.http.form import FORM, MULTIPART
from slimseq.app.http.problems import MEDIA_TYPE, PROBLEM_TYPES, Problem
from slimseq.app.http.schemas.huggingface import (
    SummarizationInput,
    SummarizationOutput,
    TranslationInput,
    TranslationOutput,
)
from slimseq.app.http.schemas.libretranslate import (
    DetectRequest,
    LibreTranslateError,
    LibreTranslateRequest,
    LibreTranslateResponse,
)
from slimseq.app.http.security import OPEN_PATHS

JSON = "application/json"
# FastAPI's description of an answer.
UNDESCRIBED = "Successful Response"
REF = "#/components/schemas/{model}"
TAGS = {
    "generation": "Summarize, translate, and compare variants.",
    "libretranslate": "LibreTranslate's API, beside `POST /translate`.",
    "variants": "What there is, and what is loaded.",
    "measurements": "Latency, memory and quality, measured while the service runs.",
    "experiments": "Split traffic between variants, and judge their outputs.",
    "operation": "For operators and their monitoring.",
}
# Any request may end with these: they belong to the connection, or to the query, which no endpoint leaves unchecked.
ALWAYS = (400, 408, 422, 431, 500, 503)
# Every body that is posted is read within limits, also where none is needed.
POSTED = (413, 415, 429)
# To load a variant may write what derives from it.
LOADING = dict.fromkeys(("summarize", "translate", "compare", "load_variant"), (507,))
# Requests of other APIs, by operation: for each media type, the bodies and the answers.
OTHER_BODIES: dict[str, dict[str, list[type[BaseModel]]]] = {
    "summarize": {JSON: [SummarizationInput]},
    "translate": {
        JSON: [LibreTranslateRequest, TranslationInput],
        FORM: [LibreTranslateRequest],
        MULTIPART: [LibreTranslateRequest],
    },
    "detect_language": {JSON: [DetectRequest], FORM: [DetectRequest], MULTIPART: [DetectRequest]},
}
# Their fields are taken from the query too.
OTHER_QUERIES: dict[str, type[BaseModel]] = {"translate": LibreTranslateRequest, "detect_language": DetectRequest}
OTHER_ANSWERS: dict[str, list[dict[str, Any]]] = {
    "summarize": [{"type": "array", "items": {"$ref": REF.format(model="SummarizationOutput")}}],
    "translate": [
        {"$ref": REF.format(model="LibreTranslateResponse")},
        {"type": "array", "items": {"$ref": REF.format(model="TranslationOutput")}},
    ],
}
# Errors that LibreTranslate's requests get in its own form. Earlier ones, before the body was read, are problems.
OTHER_ERRORS = {"translate": (400, 401, 403, 404, 413, 429, 503, 504), "detect_language": (400, 401, 403, 429, 503)}
OTHER_MODELS: tuple[type[BaseModel], ...] = (
    DetectRequest,
    LibreTranslateError,
    LibreTranslateRequest,
    LibreTranslateResponse,
    Problem,
    SummarizationInput,
    SummarizationOutput,
    TranslationInput,
    TranslationOutput,
)
OF_VARIANT = {
    "operationId": "get_variant",
    "parameters": {"task": "$response.body#/task", "variant": "$response.body#/variant"},
    "description": "The variant that answered.",
}
OF_ID = {"parameters": {"identifier": "$response.body#/id"}}
CANCEL = {
    "operationId": "cancel_evaluation",
    "description": "Cancel it, or delete it once it has ended.",
    **OF_ID,
}
SAMPLES = {"operationId": "list_evaluation_samples", "description": "Its samples and outputs.", **OF_ID}
STOP = {"operationId": "stop_experiment", "description": "Its end.", **OF_ID}
OF_EVALUATION = {
    "evaluation": {"operationId": "get_evaluation", "description": "Its status and results.", **OF_ID},
    "samples": SAMPLES,
    "cancel": CANCEL,
}
LINKS = {
    ("summarize", "200"): {"variant": OF_VARIANT},
    ("translate", "200"): {"variant": OF_VARIANT},
    ("post_evaluation", "202"): OF_EVALUATION,
    ("upload_evaluation", "202"): OF_EVALUATION,
    ("get_evaluation", "200"): {"samples": SAMPLES, "cancel": CANCEL},
    ("start_experiment", "201"): {
        "experiment": {"operationId": "get_experiment", "description": "What it has shown so far.", **OF_ID},
        "stop": STOP,
    },
    ("get_experiment", "200"): {"stop": STOP},
}
SECURITY = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key, as `slimseq keys add` makes it, where the service has keys; or the token of "
        "`SLIMSEQ_ADMIN_TOKEN`.",
    }
}
# What needs a key only where the service has keys may be sent without one.
KEY: list[dict[str, list[str]]] = [{"key": []}]
KEY_OR_NONE: list[dict[str, list[str]]] = [*KEY, {}]
# Operations whose answers have a `Location` header.
LOCATED = ("post_evaluation", "upload_evaluation", "start_experiment")
HEADERS = {
    "Challenge": {"description": "`Bearer`: the scheme of keys.", "schema": {"type": "string"}},
    "RequestId": {"description": "Id of the request: the client's, or a new one.", "schema": {"type": "string"}},
    "RetryAfter": {"description": "Seconds until the request is worth repeating.", "schema": {"type": "integer"}},
    "Location": {"description": "Path of what was made.", "schema": {"type": "string"}},
}


def complete_openapi(app: FastAPI) -> None:
    """Makes `/openapi.json` complete. Call it once all routes are included."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(original())
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    components = document["components"]
    _, other = models_json_schema([(model, "validation") for model in OTHER_MODELS], ref_template=REF)
    schemas = components["schemas"] = dict(sorted((other["$defs"] | components["schemas"]).items()))
    # FastAPI's own errors, which the service never answers with.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, bodies in examples.SCHEMAS.items():
        schemas[name]["examples"] = bodies
    components["headers"] = HEADERS
    components["securitySchemes"] = SECURITY
    statuses = set()
    for path, method, operation in _operations(document):
        statuses |= _complete_operation(method, operation, schemas, is_open=path in OPEN_PATHS)
    components["responses"] = {f"Problem{status}": _problem(status) for status in sorted(statuses)}
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    document["tags"] = [{"name": name, "description": description} for name, description in TAGS.items()]


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _complete_operation(method: str, operation: dict[str, Any], schemas: dict[str, Any], is_open: bool) -> set[int]:
    """Completes one operation. Returns its statuses of errors.

    Args:
        method: of HTTP.
        operation: of the document.
        schemas: of the document.
        is_open: whether it never needs a key.
    """
    name, responses = operation["operationId"], operation["responses"]
    for media_type, models in OTHER_BODIES.get(name, {}).items():
        content = operation.setdefault("requestBody", {"required": True, "content": {}})["content"]
        bodies = [content[media_type]["schema"]] if media_type in content else []
        bodies += [{"$ref": REF.format(model=model.__name__)} for model in models]
        content[media_type] = {"schema": {"oneOf": bodies} if len(bodies) > 1 else bodies[0]}
    if name in OTHER_QUERIES:
        operation.setdefault("parameters", []).extend(_fields_in_query(OTHER_QUERIES[name]))
        operation["requestBody"]["required"] = False
    if name in OTHER_ANSWERS:
        content = responses["200"]["content"][JSON]
        content["schema"] = {"oneOf": [content["schema"], *OTHER_ANSWERS[name]]}
    for parameter in operation.get("parameters", []):
        if parameter["name"] in examples.PARAMETERS and parameter["schema"].get("type") != "array":
            parameter["example"] = examples.PARAMETERS[parameter["name"]]
    for (operation_id, status), links in LINKS.items():
        if operation_id == name:
            responses[status]["links"] = links
    for response in responses.values():
        response["headers"] = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
        if response["description"] == UNDESCRIBED:
            response["description"] = _meaning(response["content"][JSON]["schema"], schemas)
        if name in LOCATED:
            response["headers"]["Location"] = {"$ref": "#/components/headers/Location"}
    errors = {int(status) for status in responses if int(status) >= HTTPStatus.BAD_REQUEST}
    errors |= {*ALWAYS, *(POSTED if method == "post" else ()), *LOADING.get(name, ())}
    if not is_open:
        operation["security"] = KEY if HTTPStatus.FORBIDDEN in errors else KEY_OR_NONE
        errors |= {401, 403, 429}
    for error in sorted(errors):
        is_other = error in OTHER_ERRORS.get(name, ())
        responses[str(error)] = (
            _problem(error, JSON) if is_other else {"$ref": f"#/components/responses/Problem{error}"}
        )
    operation["responses"] = dict(sorted(responses.items()))
    return errors


def _meaning(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Returns what an answer is: the description of its schema, or of that of its items."""
    reference = schema.get("items", schema)["$ref"]
    meaning: str = schemas[reference.rpartition("/")[2]]["description"]
    return f"A list: {meaning[:1].lower()}{meaning[1:]}" if "items" in schema else meaning


def _fields_in_query(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    for name, field in model.model_fields.items():
        yield {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {"type": "integer" if field.annotation is int else "string"},
            "description": f"A field of LibreTranslate's, in place of that in the body. {field.description}",
        }


def _problem(status: int, other_media_type: str | None = None) -> dict[str, Any]:
    """Returns the response of a status: its problems, and LibreTranslate's errors in a media type if one is given."""
    slugs = sorted({found.slug for found in PROBLEM_TYPES.values() if found.status == status})
    content: dict[str, Any] = {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}}
    if other_media_type:
        content[other_media_type] = {"schema": {"$ref": REF.format(model="LibreTranslateError")}}
    headers = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/Challenge"}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    return {"description": ", ".join(f"`{slug}`" for slug in slugs), "headers": headers, "content": content}
