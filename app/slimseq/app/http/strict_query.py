"""Refuses query parameters that an endpoint does not know, and repeated ones: one would be ignored without a word."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from fastapi import Depends, FastAPI, Request
from starlette.datastructures import QueryParams

from slimseq.app.errors import InvalidRequest


def install_strict_query(app: FastAPI) -> None:
    """Notes which query parameters each endpoint documents, once all are there."""
    app.state.queries = {
        (method.upper(), path): _queries(operation)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    }


async def check_query(request: Request) -> None:
    """Checks a request's query against the endpoint's documented parameters.

    Raises:
        InvalidRequest: there is another, which is named with those there are; or one is repeated that is no list.
    """
    if not request.query_params:
        return
    known = request.app.state.queries.get((request.method, request.scope["route"].path), {})
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise InvalidRequest(f"query parameter {unknown[0][:64]!r}: is not one of this endpoint's; {has}")
    check_repeated(request.query_params, [name for name, is_list in known.items() if is_list])


def check_repeated(query: QueryParams, lists: Collection[str] = ()) -> None:
    """Checks that each parameter is given once.

    Args:
        query: what a request has.
        lists: parameters that may be repeated.

    Raises:
        InvalidRequest: another is repeated; it is named.
    """
    if len(query.multi_items()) == len(query):
        return
    for name, given in Counter(name for name, _ in query.multi_items()).items():
        if given > 1 and name not in lists:
            raise InvalidRequest(f"query parameter {name[:64]!r}: is given {given} times; give it once")


def _queries(operation: dict[str, Any]) -> dict[str, bool]:
    """Returns the names of an operation's query parameters, and whether each is a list."""
    return {
        each["name"]: each["schema"].get("type") == "array"
        for each in operation.get("parameters", [])
        if each["in"] == "query"
    }


KNOWN_QUERY_ONLY = Depends(check_query)
