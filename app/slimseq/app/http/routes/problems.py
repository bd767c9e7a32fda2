"""`GET /problems/NAME`: the page that the `type` of an error names."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from slimseq.app.errors import NotFound
from slimseq.app.http.problems import PROBLEM_TYPES, meaning

router = APIRouter(include_in_schema=False)

PAGES = {
    slug: f"{title} (HTTP status {status})\n\n{meaning(kind)}\n"
    for kind, (status, slug, title) in PROBLEM_TYPES.items()
}


@router.get("/problems/{name}", response_class=PlainTextResponse)
async def explain(name: str) -> str:
    """Explain an error.

    Raises:
        NotFound: no error has this name.
    """
    if name not in PAGES:
        raise NotFound(f"there is no problem {name!r}; there are {', '.join(sorted(PAGES))}")
    return PAGES[name]
