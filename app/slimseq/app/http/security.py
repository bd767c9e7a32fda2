"""Authorization of operators, who load and unload variants, and start and stop experiments."""

import hmac

from fastapi import Depends, Request
from pydantic import SecretStr

from slimseq.app.errors import Forbidden
from slimseq.app.http.dependencies import ServicesDep

SCHEME = "Bearer "


def check_operator(authorization: str | None, token: SecretStr | None) -> None:
    """Checks that a request comes from an operator.

    Args:
        authorization: the request's `Authorization` header.
        token: the operators' token, None where none is set.

    Raises:
        Forbidden: no token is set, or the header holds another one.
    """
    if token is None or not token.get_secret_value():
        raise Forbidden("only operators may do this: start the service with SLIMSEQ_ADMIN_TOKEN to allow it")
    scheme, given = (authorization or "")[: len(SCHEME)], (authorization or "")[len(SCHEME) :]
    if scheme != SCHEME or not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
        raise Forbidden("only operators may do this: send the header `Authorization: Bearer TOKEN`")


async def _operator(request: Request, services: ServicesDep) -> None:
    check_operator(request.headers.get("authorization"), services.admin_token)


async def _operator_if_set(request: Request, services: ServicesDep) -> None:
    token = services.admin_token
    if token is not None and token.get_secret_value():
        check_operator(request.headers.get("authorization"), token)


OperatorOnly = Depends(_operator)
# Open to everybody until operators have a token.
OperatorIfSet = Depends(_operator_if_set)
