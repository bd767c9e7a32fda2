"""A route that answers requests of other APIs too, which it recognises by their keys or their content type.

Only a body that is no request of our own is looked at, so that our own requests are as fast as without dialects.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from slimseq.app.errors import InvalidRequest, Unauthenticated
from slimseq.app.http.dependencies import ChoiceQuery, choice_of, terms_of
from slimseq.app.http.dialects import huggingface, libretranslate
from slimseq.app.http.form import is_form
from slimseq.app.http.json_route import JsonRoute, parse_json
from slimseq.app.http.validation import describe
from slimseq.app.serving.selection.chooser import Choice
from slimseq.app.serving.terms import Terms
from slimseq.models_store.manifest import Task

Dialect = Callable[[Task, Request, Choice, Terms], Awaitable[Response]]

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
            query = dict(request.query_params)
            try:
                return await handle(request)
            except Unauthenticated:
                # LibreTranslate's clients send their key in the body.
                body = await request.body()
                parsed = body if is_form(request) else parse_json(body) if body else None
                dialect, wrong = recognised(task, parsed, query), []
                if dialect is not libretranslate.translate:
                    raise
            except RequestValidationError as error:
                dialect = recognised(task, error.body, query)
                if dialect is None:
                    raise
                # FastAPI has run all dependencies, unless their own parameters are wrong.
                wrong = [each for each in error.errors() if each["loc"][0] != "body"]
            own = libretranslate.FIELDS if dialect is libretranslate.translate else ()
            if others := [each for each in wrong if each["loc"][-1] not in own]:
                raise RequestValidationError(others)
            terms = terms_of(request)
            choice = {name: value for name, value in query.items() if name not in own}
            try:
                return await dialect(task, request, choice_of(ChoiceQuery.model_validate(choice)), terms)
            except ValidationError as error:
                raise InvalidRequest(f"query parameter {describe(error.errors())}") from error

        return handle_any
