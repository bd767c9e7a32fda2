"""One HTTP request to the service, and how the arguments of a call become one. `slimseq.client.sending` sends it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from slimseq.client.request_options import Task, Texts, VariantChoice

PATHS: Mapping[Task, str] = {"summarization": "/summarize", "translation": "/translate"}
TERMS_HEADERS = {"deadline_ms": b"X-Request-Deadline-Ms", "priority": b"X-Request-Priority", "unit": b"X-Slimseq-Unit"}


class Request(NamedTuple):
    """A request. Parameters of the query that are None are not sent.

    If it is repeatable, the service may receive it twice without harm.
    """

    method: str
    path: str
    query: Mapping[str, Any] = {}
    body: Mapping[str, Any] | None = None
    headers: Mapping[bytes, bytes] = {}
    is_repeatable: bool = True


def generation_request(task: Task, text: Texts, options: Mapping[str, Any]) -> Request:
    """Returns a request for a summary or a translation. The choice of the variant goes into the query."""
    query = {name: options.get(name) for name in VariantChoice.__annotations__}
    others = {name: value for name, value in options.items() if name not in query}
    return texts_request(PATHS[task], query, text, others)


def texts_request(path: str, query: Mapping[str, Any], text: Texts, options: Mapping[str, Any]) -> Request:
    """Returns a request with texts. Generation options go into the body, the terms of the request into headers."""
    generation_options = {name: value for name, value in options.items() if name not in TERMS_HEADERS}
    body = {"text": text if isinstance(text, str) else list(text), **generation_options}
    return Request("POST", path, query, body, headers_of(options))


def headers_of(terms: Mapping[str, Any]) -> Mapping[bytes, bytes]:
    """Returns the headers of the terms of a request. A unit in any script is sent as UTF-8."""
    given = without_none({name: terms.get(name) for name in TERMS_HEADERS})
    return {TERMS_HEADERS[name]: str(value).encode() for name, value in given.items()}


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out what is None: the service has its own defaults."""
    return {name: value for name, value in values.items() if value is not None}
