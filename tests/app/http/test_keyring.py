import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slimseq.app.errors import Overloaded, Unauthenticated
from slimseq.app.http.keyring import ANYBODY, MAX_REMEMBERED, MAX_WAITING, OPERATOR, KeyRing
from slimseq.app.http.keys import Key, KeyLimits, Scope, add_key

pytestmark = pytest.mark.anyio

ADMIN = "open sesame ü"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def token(path: Path) -> str:
    return add_key(path, "web", (Scope.GENERATE,), KeyLimits(concurrent_requests=3), None)[1]


@pytest.mark.parametrize("made", ["", "Bearer", "Bearer ", "Bearer slq_", "Basic {}", "{}", "Bearer {}x", "Bearer  {}"])
async def test_anything_else_is_refused_without_a_hint(path: Path, token: str, made: str) -> None:
    ring = KeyRing(path, None)

    with pytest.raises(Unauthenticated) as raised:
        await ring.by_header(made.format(token))

    assert str(raised.value) == str(Unauthenticated())


async def test_a_key_that_expired_is_refused_like_a_wrong_one(path: Path) -> None:
    _, token = add_key(path, "over", (Scope.GENERATE,), KeyLimits(), datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(Unauthenticated):
        await KeyRing(path, None).by_header(f"Bearer {token}")


@pytest.mark.parametrize("harm", ["truncated", "removed", "readable"])
async def test_a_file_that_breaks_keeps_the_keys_and_is_logged(
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
    assert (await ring.by_header(f"Bearer {token}")).name == "web"


async def test_a_hash_is_checked_once_for_a_token(path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ring, checked = KeyRing(path, None), []

    def is_of(key: Key, given: str) -> bool:
        checked.append(given)
        return given == token

    monkeypatch.setattr(Key, "is_of", is_of)
    wrong = token[:-2] + "__"
    for _ in range(3):
        await ring.by_header(f"Bearer {token}")
        with pytest.raises(Unauthenticated):
            await ring.by_header(f"Bearer {wrong}")
        # No key has this id, so that nothing is checked.
        with pytest.raises(Unauthenticated):
            await ring.by_header(f"Bearer slq_00000000_{'x' * 43}")

    assert checked == [token, wrong]


async def test_guesses_neither_fill_the_memory_nor_queue_without_an_end(
    path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(path, None)
    may_end = threading.Event()
    monkeypatch.setattr(Key, "is_of", lambda key, given: may_end.wait() and given == token)
    guesses = [f"{token[:13]}{number:043d}" for number in range(MAX_REMEMBERED + 64)]

    async def guess(one: str) -> type[Exception]:
        try:
            await ring.by_token(one)
        except (Unauthenticated, Overloaded) as error:
            return type(error)
        raise AssertionError("a guess was right")

    guessing = asyncio.gather(*map(guess, guesses[:64]))
    while ring._waiting < MAX_WAITING:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    may_end.set()
    at_once = await guessing
    for one in guesses[64:]:
        await guess(one)

    assert at_once.count(Unauthenticated) == MAX_WAITING and at_once.count(Overloaded) == 64 - MAX_WAITING
    assert len(ring._checked) == MAX_REMEMBERED
    assert (await ring.by_token(token)).name == "web"


async def test_without_keys_everybody_may_generate_and_foreign_tokens_mean_nothing() -> None:
    ring = KeyRing(None, ADMIN)

    assert await ring.by_header(None) is ANYBODY
    assert await ring.by_header("Bearer hf_token") is ANYBODY
    assert await ring.by_header(f"Basic {ADMIN}") is ANYBODY
    assert await ring.by_header(ADMIN) is ANYBODY
    assert await ring.by_header(f"Bearer {ADMIN}") is OPERATOR
    assert await ring.by_header(f"Bearer {ADMIN.encode().decode('latin-1')}") is OPERATOR
    assert ANYBODY.may(Scope.GENERATE) and not ANYBODY.may(Scope.ADMIN)


@pytest.mark.parametrize("admin", [None, ""])
async def test_an_empty_operators_token_makes_nobody_an_operator(admin: str | None) -> None:
    ring = KeyRing(None, admin)

    assert await ring.by_header("Bearer ") is ANYBODY
    assert not ring.has_operators
