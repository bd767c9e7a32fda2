"""Rejects unknown query parameters, and repeated ones, which would otherwise be ignored without an error."""

from collections import Counter
from typing import Any

from fastapi import Depends, FastAPI, Request

from slimseq.app.errors import InvalidRequest


def install_strict_query(app: FastAPI) -> None:
    """Records the documented query parameters of each endpoint. Call it once all routes are included."""
    app.state.queries = {
        (method.upper(), path): _queries(operation)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    }


async def check_query(request: Request) -> None:
    """Checks a request's query against the documented parameters of its endpoint.

    Raises:
        InvalidRequest: a parameter is unknown, or one that is no list is given more than once.
    """
    query = request.query_params
    if not query:
        return
    known = request.app.state.queries.get((request.method, request.scope["route"].path), {})
    for name, count in Counter(name for name, _ in query.multi_items()).items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InvalidRequest(f"query parameter {name[:64]!r}: is not one of this endpoint's; {has}")
        if count > 1 and not known[name]:
            raise InvalidRequest(f"query parameter {name[:64]!r}: is given {count} times; give it once")


def _queries(operation: dict[str, Any]) -> dict[str, bool]:
    """Returns the names of an operation's query parameters, and whether each is a list."""
    return {
        each["name"]: each["schema"].get("type") == "array"
        for each in operation.get("parameters", [])
        if each["in"] == "query"
    }


KNOWN_QUERY_ONLY = Depends(check_query)
