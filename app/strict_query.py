"""Refuses query parameters that an endpoint does not know: a misspelt one would otherwise be left out in silence."""

from typing import Any

from fastapi import Depends, FastAPI, Request

from app.errors import InvalidRequest


def install_strict_query(app: FastAPI) -> None:
    """Notes which query parameters each endpoint documents, once all are there."""
    app.state.queries = {
        (method.upper(), path): _names(operation)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    }


async def check_query(request: Request) -> None:
    """Checks a request's query against the endpoint's documented parameters.

    Raises:
        InvalidRequest: there is another; it is named, and those there are.
    """
    if not request.query_params:
        return
    known = request.app.state.queries.get((request.method, request.scope["route"].path), [])
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise InvalidRequest(f"query parameter {unknown[0][:64]!r}: is not one of this endpoint's; {has}")


def _names(operation: dict[str, Any]) -> list[str]:
    return [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]


KNOWN_QUERY_ONLY = Depends(check_query)
