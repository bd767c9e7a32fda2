"""The OpenAPI document: what FastAPI writes from the routes, and what holds for all of them.

Added are, for every operation: its errors as `application/problem+json`, headers, whether it needs a key, and examples
of parameters. Routes and schemas say the rest. `python -m docs.openapi` writes the document to a file.
"""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from slimseq.app.http.body import JSON
from slimseq.app.http.middleware import OPEN_PATHS
from slimseq.app.http.problems import MEDIA_TYPE, PROBLEM_TYPES

# FastAPI's description of a response whose route gives none.
UNDESCRIBED = "Successful Response"
TAGS = {
    "generation": "Summarize, translate, and compare variants.",
    "variants": "What there is, and what is loaded.",
    "measurements": "Latency, memory and quality, measured while the service runs.",
    "experiments": "Split traffic between variants, and judge their outputs.",
    "operation": "For operators and their monitoring.",
}
# Statuses of errors that any request may get: the service checks the connection and the query of every request.
ALWAYS = (400, 408, 422, 431, 500, 503)
# Statuses of errors of every POST: its body is read within limits, even if the route takes none.
POSTED = (413, 415, 429)
PARAMETER_EXAMPLES = {"task": "translation", "variant": "quantized"}
SECURITY = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key, as `slimseq keys add` makes it, where the service has keys; or the token of "
        "`SLIMSEQ_ADMIN_TOKEN`.",
    }
}
# Security of operations that always need a key (or the operators' token), and of those that need it only where the
# service has keys.
KEY: list[dict[str, list[str]]] = [{"key": []}]
KEY_OR_NONE: list[dict[str, list[str]]] = [*KEY, {}]
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
    schemas = dict(sorted(components["schemas"].items()))
    components["schemas"] = schemas
    # The schemas of FastAPI's own errors, which the service never sends.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["headers"] = HEADERS
    components["securitySchemes"] = SECURITY
    statuses = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            statuses |= _complete_operation(method, operation, schemas, is_open=path in OPEN_PATHS)
    components["responses"] = {f"Problem{status}": _problem(status) for status in sorted(statuses)}
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    document["tags"] = [{"name": name, "description": description} for name, description in TAGS.items()]


def _complete_operation(method: str, operation: dict[str, Any], schemas: dict[str, Any], is_open: bool) -> set[int]:
    """Completes one operation. It never needs a key if it `is_open`. Returns the statuses of its errors."""
    responses = operation["responses"]
    for parameter in operation.get("parameters", []):
        if parameter["name"] in PARAMETER_EXAMPLES and parameter["schema"].get("type") != "array":
            parameter["example"] = PARAMETER_EXAMPLES[parameter["name"]]
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-ID"] = {"$ref": "#/components/headers/RequestId"}
        if response["description"] == UNDESCRIBED:
            response["description"] = _meaning(response["content"][JSON]["schema"], schemas)
    errors = {int(status) for status in responses if int(status) >= HTTPStatus.BAD_REQUEST}
    errors |= set(ALWAYS)
    if method == "post":
        errors |= set(POSTED)
    if not is_open:
        operation["security"] = KEY if HTTPStatus.FORBIDDEN in errors else KEY_OR_NONE
        errors |= {401, 403, 429}
    for error in errors:
        responses[str(error)] = {"$ref": f"#/components/responses/Problem{error}"}
    operation["responses"] = dict(sorted(responses.items()))
    return errors


def _meaning(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Returns what an answer is: the description of its schema, or of that of its items."""
    reference = schema.get("items", schema)["$ref"]
    meaning: str = schemas[reference.rpartition("/")[2]]["description"]
    return f"A list: {meaning[:1].lower()}{meaning[1:]}" if "items" in schema else meaning


def _problem(status: int) -> dict[str, Any]:
    slugs = sorted({found.slug for found in PROBLEM_TYPES.values() if found.status == status})
    headers = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/Challenge"}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    return {
        "description": ", ".join(f"`{slug}`" for slug in slugs),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
