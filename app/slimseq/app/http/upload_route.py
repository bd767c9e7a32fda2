"""A route class that parses uploads piece by piece, so that other requests run in between, and keeps them in memory.

FastAPI's own way writes files above 1 MiB to a temporary folder, which a container may not have. The middleware that
reads bodies has bounded their size.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.formparsers import MultiPartException, MultiPartParser

from slimseq.app.errors import MalformedBody

# Takes about 1 ms.
PIECE_BYTES = 64 * 1024
# More than any form of the API has: a field for each variant, and some others.
MAX_FIELDS = 32


class UploadRoute(APIRoute):
    """A route of endpoints that take a form with one file."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns the function that handles a request."""
        handle = super().get_route_handler()

        async def parse_and_handle(request: Request) -> Response:
            body = await request.body()
            parser = MultiPartParser(request.headers, _pieces(body), max_files=1, max_fields=MAX_FIELDS)
            parser.spool_max_size = len(body) + 1
            try:
                request._form = await parser.parse()
            except MultiPartException as error:
                raise MalformedBody(f"the body is not a form: {error.message}") from error
            return await handle(request)

        return parse_and_handle


async def _pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), PIECE_BYTES):
        await asyncio.sleep(0)
        yield body[start : start + PIECE_BYTES]
    yield b""
