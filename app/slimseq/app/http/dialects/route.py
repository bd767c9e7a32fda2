"""A route that answers requests of other APIs too, which it recognises by their keys or their content type.

Only a body that is no request of our own is looked at, so that our own requests are as fast as without dialects.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError

from slimseq.app.http.dependencies import ChoiceQuery, choice_of
from slimseq.app.http.dialects import huggingface, libretranslate
from slimseq.app.http.json_route import JsonRoute
from slimseq.app.serving.selection.chooser import Choice
from slimseq.models_store.manifest import Task

Dialect = Callable[[Task, Request, Choice], Awaitable[Response]]

TASKS = {"/translate": Task.TRANSLATION, "/summarize": Task.SUMMARIZATION}


def recognised(task: Task, body: Any, query: Collection[str] = ()) -> Dialect | None:
    """Returns the dialect of a body that is no request of our own, None if it is none of another API either.

    Args:
        task: the task of the path.
        body: the parsed JSON, or the bytes of a form.
        query: the names of the query parameters.
    """
    keys = body if isinstance(body, dict) else {}
    if "text" in keys:
        return None
    if task is Task.TRANSLATION and ("q" in keys or isinstance(body, bytes) or (body is None and "q" in query)):
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
            except RequestValidationError as error:
                query = dict(request.query_params)
                dialect = recognised(task, error.body, query)
                if dialect is None:
                    raise
                own = libretranslate.FIELDS if dialect is libretranslate.translate else ()
                # FastAPI has run all dependencies, unless their own parameters are wrong.
                if others := [
                    each for each in error.errors() if each["loc"][0] != "body" and each["loc"][-1] not in own
                ]:
                    raise RequestValidationError(others) from error
            choice = {name: value for name, value in query.items() if name not in own}
            return await dialect(task, request, choice_of(ChoiceQuery.model_validate(choice)))

        return handle_any
