import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slimseq.app.errors import Unauthenticated
from slimseq.app.http.keyring import ANYBODY, OPERATOR, KeyRing
from slimseq.app.http.keys import KeyLimits, Scope, add_key

ADMIN = "open sesame ü"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def token(path: Path) -> str:
    return add_key(path, "web", (Scope.GENERATE,), KeyLimits(concurrent_requests=3), None)[1]


@pytest.mark.parametrize("made", ["", "Bearer", "Bearer ", "Bearer slq_", "Basic {}", "{}", "Bearer {}x", "Bearer  {}"])
def test_anything_else_is_refused_without_a_hint(path: Path, token: str, made: str) -> None:
    ring = KeyRing(path, None)

    with pytest.raises(Unauthenticated) as raised:
        ring.by_header(made.format(token))

    assert str(raised.value) == str(Unauthenticated())


def test_a_key_that_expired_is_refused_like_a_wrong_one(path: Path) -> None:
    _, token = add_key(path, "over", (Scope.GENERATE,), KeyLimits(), datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(Unauthenticated):
        KeyRing(path, None).by_header(f"Bearer {token}")


@pytest.mark.parametrize("harm", ["truncated", "removed", "readable"])
def test_a_file_that_breaks_keeps_the_keys_and_is_logged(
    path: Path, token: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(path, None)
    if harm == "truncated":
        path.write_text("{")
    elif harm == "removed":
        path.unlink()
    else:
        path.chmod(0o644)

    with caplog.at_level(logging.ERROR):
        ring.refresh(path)

    assert "keys of before" in caplog.text
    assert (ring.by_header(f"Bearer {token}")).name == "web"


def test_without_keys_everybody_may_generate_and_foreign_tokens_mean_nothing() -> None:
    ring = KeyRing(None, ADMIN)

    assert ring.by_header(None) is ANYBODY
    assert ring.by_header("Bearer hf_token") is ANYBODY
    assert ring.by_header(f"Basic {ADMIN}") is ANYBODY
    assert ring.by_header(ADMIN) is ANYBODY
    assert ring.by_header(f"Bearer {ADMIN}") is OPERATOR
    assert ring.by_header(f"Bearer {ADMIN.encode().decode('latin-1')}") is OPERATOR
    assert ANYBODY.may(Scope.GENERATE) and not ANYBODY.may(Scope.ADMIN)


@pytest.mark.parametrize("admin", [None, ""])
def test_an_empty_operators_token_makes_nobody_an_operator(admin: str | None) -> None:
    ring = KeyRing(None, admin)

    assert ring.by_header("Bearer ") is ANYBODY
    assert not ring.has_operators
