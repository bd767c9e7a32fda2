"""The page at `/`, the OpenAPI page at `/docs`, their assets, and `/problems/NAME`. None of them is part of the API."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from slimseq.app.errors import NotFound
from slimseq.app.http.problems import PROBLEM_TYPES, meaning
from slimseq.app.web.files import WebFiles

router = APIRouter(include_in_schema=False)


files = WebFiles()
READ = ["GET", "HEAD"]


@router.api_route("/", methods=READ)
async def index(request: Request) -> Response:
    return files.page("index.html", request.headers.get("if-none-match"))


@router.api_route("/docs", methods=READ)
async def docs(request: Request) -> Response:
    return files.page("docs.html", request.headers.get("if-none-match"))


@router.api_route("/assets/{version}/{path:path}", methods=READ)
async def asset(version: str, path: str, request: Request) -> Response:
    if version != files.version:
        raise NotFound(f"{request.url.path} belongs to another version of the page; reload the page")
    return await files.asset(path, request.scope)


PAGES = {
    slug: f"{title} (HTTP status {status})\n\n{meaning(kind)}\n"
    for kind, (status, slug, title) in PROBLEM_TYPES.items()
}


@router.get("/problems/{name}", response_class=PlainTextResponse)
async def explain(name: str) -> str:
    if name not in PAGES:
        raise NotFound(f"there is no problem {name!r}; there are {', '.join(sorted(PAGES))}")
    return PAGES[name]
