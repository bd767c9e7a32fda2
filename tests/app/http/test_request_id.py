import contextvars

import pytest

from slimseq.app.http.request_id import current_request_id, enter_request


def entered(offered: str | None) -> str:
    def enter() -> str:
        identifier = enter_request(offered)
        assert current_request_id() == identifier
        return identifier

    return contextvars.copy_context().run(enter)


def test_a_sane_id_is_kept() -> None:
    assert entered("trace:1/2.3-4_5") == "trace:1/2.3-4_5"


@pytest.mark.parametrize("offered", [None, "", "a b", "a\nb", "ä", "x" * 129, '"'])
def test_another_id_is_replaced_by_one_of_our_own(offered: str | None) -> None:
    assert len(entered(offered)) == 32
    assert entered(offered) != entered(offered)
