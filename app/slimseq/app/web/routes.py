"""The page at `/`, the OpenAPI page at `/docs`, their assets, and `/problems/NAME`. They are not part of the API."""

import mimetypes
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles

from slimseq.app.errors import NotFound
from slimseq.app.http.problems import PROBLEM_TYPES, meaning

router = APIRouter(include_in_schema=False)

# On the page at `/` the browser refuses to parse any string as HTML, except the constant templates of lit-html.
# swagger-ui sets `innerHTML`, so its page cannot have this.
TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types lit-html"
HEADERS = {
    # swagger-ui's style sheet has its icons as `data:` images.
    "Content-Security-Policy": "default-src 'self'; frame-src blob:; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Browsers ask each time whether a file has changed.
    "Cache-Control": "no-cache",
}
READ_METHODS = ["GET", "HEAD"]
# Python 3.11 says `application/javascript`, which RFC 9239 made obsolete.
mimetypes.add_type("text/javascript", ".js")


class PageFiles(StaticFiles):
    """The files of the folder `static`, with `HEADERS`."""

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        if path == "index.html":
            response.headers["Content-Security-Policy"] += TRUSTED_TYPES
        return response


files = PageFiles(directory=Path(__file__).parent / "static")


@router.api_route("/", methods=READ_METHODS)
async def index(request: Request) -> Response:
    return await files.get_response("index.html", request.scope)


@router.api_route("/docs", methods=READ_METHODS)
async def docs(request: Request) -> Response:
    return await files.get_response("docs.html", request.scope)


@router.api_route("/assets/{path:path}", methods=READ_METHODS)
async def asset(path: str, request: Request) -> Response:
    return await files.get_response(path, request.scope)


# The page of each type of problem, by the last part of its URI: what the problem means.
PROBLEM_PAGES = {
    slug: f"{title} (HTTP status {status})\n\n{meaning(kind)}\n"
    for kind, (status, slug, title) in PROBLEM_TYPES.items()
}


@router.get("/problems/{name}", response_class=PlainTextResponse)
async def explain(name: str) -> str:
    if name not in PROBLEM_PAGES:
        raise NotFound(f"there is no problem {name!r}; there are {', '.join(sorted(PROBLEM_PAGES))}")
    return PROBLEM_PAGES[name]
