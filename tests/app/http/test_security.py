import pytest
from pydantic import SecretStr

from slimseq.app.errors import Forbidden
from slimseq.app.http.security import check_operator

TOKEN = SecretStr("open sesame ü")


def test_the_operators_token_opens() -> None:
    check_operator("Bearer open sesame ü", TOKEN)


@pytest.mark.parametrize("header", [None, "", "Bearer ", "Bearer open", "Basic open sesame ü", "open sesame ü"])
def test_anything_else_does_not(header: str | None) -> None:
    with pytest.raises(Forbidden, match="Authorization: Bearer"):
        check_operator(header, TOKEN)


@pytest.mark.parametrize("token", [None, SecretStr("")])
def test_without_a_token_nobody_may(token: SecretStr | None) -> None:
    with pytest.raises(Forbidden, match="SLIMSEQ_ADMIN_TOKEN"):
        check_operator("Bearer ", token)
