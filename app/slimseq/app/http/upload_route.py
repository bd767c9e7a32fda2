"""A route class that parses uploads in pieces and keeps them in memory.

FastAPI's own way writes files above 1 MiB to a temporary folder.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from slimseq.app.http.form import parse_multipart


class UploadRoute(APIRoute):
    """A route of endpoints that take a form with one file."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns the function that handles a request."""
        handle = super().get_route_handler()

        async def parse_and_handle(request: Request) -> Response:
            request._form = await parse_multipart(request, await request.body(), max_files=1)
            return await handle(request)

        return parse_and_handle
