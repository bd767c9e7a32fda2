"""Who may do what an operator does: load and unload variants."""

import hmac

from pydantic import SecretStr

from slimseq.app.errors import Forbidden

SCHEME = "Bearer "


def check_operator(authorization: str | None, token: SecretStr | None) -> None:
    """Checks that a call comes from the operator.

    Args:
        authorization: the request's `Authorization` header.
        token: the operator's, None where none is set.

    Raises:
        Forbidden: no token is set, or the header holds another one.
    """
    if token is None or not token.get_secret_value():
        raise Forbidden("this call is the operator's: start the service with SLIMSEQ_ADMIN_TOKEN to allow it")
    given = (authorization or "").removeprefix(SCHEME)
    if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
        raise Forbidden("this call is the operator's: it needs the header `Authorization: Bearer TOKEN`")
