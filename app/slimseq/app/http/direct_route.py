"""A route whose usual requests take a short way past FastAPI's dependencies, which is half of what a request costs.

Body and query are read by one validator each. Whatever they refuse goes FastAPI's own way, which words every error.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from slimseq.app.http.dependencies import ChoiceQuery, services_of
from slimseq.app.http.json_route import JsonRoute
from slimseq.app.http.strict_query import check_repeated

JSON = "application/json"


class DirectRoute(JsonRoute):
    """A route of endpoints that take a `body`, the generation `service` and a `choice`, and return a model."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns what answers a request.

        Raises:
            TypeError: the endpoint takes something else.
        """
        others_way = super().get_route_handler()
        parameters = inspect.signature(self.endpoint).parameters
        if list(parameters) != ["body", "service", "choice"]:
            raise TypeError(f"{self.path}: takes {', '.join(parameters)}, not body, service and choice")
        model: type[BaseModel] = parameters["body"].annotation

        async def answer(request: Request) -> Response:
            try:
                query = _query(request)
                body = model.model_validate_json(await request.body())
            except ValidationError:
                return await others_way(request)
            service = (await services_of(request)).generation
            answered = await self.endpoint(body=body, service=service, choice=query.choice())
            if isinstance(answered, Response):
                return answered
            return Response(answered.__pydantic_serializer__.to_json(answered), media_type=JSON)

        return answer


_PLAIN = ChoiceQuery()


def _query(request: Request) -> ChoiceQuery:
    """Reads the query.

    Raises:
        pydantic.ValidationError: it is wrong, or has a parameter that is not known.
        InvalidRequest: a parameter is repeated.
    """
    if not request.scope["query_string"]:
        return _PLAIN
    check_repeated(request.query_params)
    return ChoiceQuery.model_validate(dict(request.query_params))
