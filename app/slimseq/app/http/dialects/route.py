"""A route that answers requests of other APIs too, which it recognises by their keys or their content type.

Only a body that is no request of our own is looked at, so that our own requests are as fast as without dialects.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError

from slimseq.app.errors import Unauthenticated
from slimseq.app.http.dependencies import ChoiceQuery, choice_of
from slimseq.app.http.dialects import huggingface, libretranslate
from slimseq.app.http.form import is_form
from slimseq.app.http.json_route import JsonRoute, parse_json
from slimseq.app.serving.selection.chooser import Choice
from slimseq.models_store.manifest import Task

Dialect = Callable[[Task, Request, Choice], Awaitable[Response]]

TASKS = {"/translate": Task.TRANSLATION, "/summarize": Task.SUMMARIZATION}


def recognised(task: Task, body: Any) -> Dialect | None:
    """Returns the dialect of a body that is no request of our own, None if it is none of another API either.

    Args:
        task: the task of the path.
        body: the parsed JSON, or the bytes of a form.
    """
    keys = body if isinstance(body, dict) else {}
    if "text" in keys:
        return None
    if task is Task.TRANSLATION and ("q" in keys or isinstance(body, bytes)):
        return libretranslate.translate
    return huggingface.generate if "inputs" in keys else None


class DialectRoute(JsonRoute):
    """A route of `/translate` or `/summarize`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns the function that handles a request."""
        handle = super().get_route_handler()
        task = TASKS.get(self.path)
        if task is None:
            return handle

        async def handle_any(request: Request) -> Response:
            try:
                return await handle(request)
            except Unauthenticated:
                # LibreTranslate's clients send their key in the body.
                body = await request.body()
                body = body if is_form(request) else parse_json(body)
                dialect = recognised(task, body)
                if dialect is not libretranslate.translate:
                    raise
            except RequestValidationError as error:
                dialect = recognised(task, error.body)
                if dialect is None:
                    raise
                # FastAPI has run all dependencies, unless their own parameters are wrong.
                if others := [each for each in error.errors() if each["loc"][0] != "body"]:
                    raise RequestValidationError(others) from error
            return await dialect(task, request, choice_of(ChoiceQuery.model_validate(dict(request.query_params))))

        return handle_any
