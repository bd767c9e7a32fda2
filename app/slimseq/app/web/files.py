"""The files of the page: HTML pages, and assets below a path that changes with their content."""

import hashlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
PLACEHOLDER = "{assets}"
# swagger-ui's style sheet has its icons as `data:` images.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; frame-src blob:; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'"
)
# On our own page the browser refuses to parse any string as HTML, except the constant templates of lit-html.
# swagger-ui sets `innerHTML`, so its page cannot have this.
TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types lit-html"
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# An asset's path holds the digest of all assets, so that its content never changes.
IMMUTABLE = "public, max-age=31536000, immutable"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class WebFiles:
    """Answers requests for pages and assets, with caching and security headers."""

    def __init__(self) -> None:
        self.version = _digest(STATIC)
        self._assets = StaticFiles(directory=STATIC)
        self._pages = {
            path.name: path.read_text(encoding="utf-8").replace(PLACEHOLDER, f"assets/{self.version}")
            for path in STATIC.glob("*.html")
        }

    def page(self, name: str, if_none_match: str | None) -> Response:
        """Returns an HTML page by the name of its file. Browsers ask each time whether it has changed."""
        etag = f'"{self.version}"'
        headers = {**SECURITY_HEADERS, "Cache-Control": "no-cache", "ETag": etag}
        if name == "index.html":
            headers["Content-Security-Policy"] += TRUSTED_TYPES
        if if_none_match is not None and etag in if_none_match:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(self._pages[name], headers=headers)

    async def asset(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        """Returns an asset of this version.

        Raises:
            starlette.exceptions.HTTPException: 404 if there is none at the path.
        """
        response = await self._assets.get_response(path, scope)
        response.headers.update(SECURITY_HEADERS | {"Cache-Control": IMMUTABLE})
        if media_type := MEDIA_TYPES.get(Path(path).suffix):
            response.headers["Content-Type"] = f"{media_type}; charset=utf-8"
        return response


def _digest(folder: Path) -> str:
    """Returns the start of a digest over the names and contents of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
