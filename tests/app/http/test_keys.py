"""Keys of clients: their file, who may read it, and whose request a token is."""

import json
import logging
import os
import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slimseq.app.errors import Overloaded, Unauthenticated, UnusableKeysFile
from slimseq.app.http.callers import ANYBODY, GUESS_SECONDS, MAX_GUESSES, OPERATOR, KeyRing
from slimseq.app.http.keys import KeyLimits, Scope, add_key, is_private, key_id, read_keys, revoke_key

NO_LIMITS = KeyLimits()
# A user or group that is neither root nor the one of this process.
SOMEBODY = 10001


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def add(path: Path, name: str = "web", expires_at: datetime | None = None) -> str:
    return add_key(path, name, (Scope.GENERATE,), NO_LIMITS, expires_at)[1]


def test_a_key_is_found_by_its_token_and_its_file_is_private_and_does_not_hold_the_token(path: Path) -> None:
    token = add(path)
    (key,) = read_keys(path)

    assert key_id(token) == key.id
    assert key.is_of(token)
    other_last_character = "B" if token.endswith("A") else "A"
    assert not key.is_of(token[:-1] + other_last_character)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = token.split("_", 2)[2]
    assert secret not in path.read_text()
    assert "sha256" in key.hash
    assert "sha256" not in repr(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_file_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    add(path)
    path.chmod(mode)
    if os.getuid() == 0:
        os.chown(path, SOMEBODY, -1)

    with pytest.raises(UnusableKeysFile, match="chmod 600"):
        read_keys(path)


@pytest.mark.parametrize(
    ("mode", "owner", "is_allowed"),
    [(0o440, 0, True), (0o640, 0, True), (0o640, SOMEBODY, False), (0o660, 0, False), (0o644, 0, False)],
)
def test_the_group_may_read_a_file_of_root_as_in_kubernetes(mode: int, owner: int, is_allowed: bool) -> None:
    status = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, owner, SOMEBODY, 100, 0, 0, 0))

    assert is_private(status) is is_allowed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "malformed"),
        ('{"keys": [{"id": "12345678"}]}', "malformed"),
        ('{"keys": [], "more": 1}', "malformed"),
        ("{" + " " * (5 * 1024 * 1024) + "}", "larger than"),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(path: Path, content: str, message: str) -> None:
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(UnusableKeysFile, match=message) as raised:
        read_keys(path)

    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_missing_file_a_folder_and_a_named_pipe_are_refused_at_once(path: Path) -> None:
    with pytest.raises(UnusableKeysFile, match="keys add"):
        read_keys(path)
    with pytest.raises(UnusableKeysFile, match="cannot be read"):
        read_keys(path.parent)
    os.mkfifo(path, 0o600)
    with pytest.raises(UnusableKeysFile, match="not a regular file"):
        read_keys(path)


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path.symlink_to(folder / "keys.json")
    add(path)
    add(path, "other")
    revoke_key(path, "web")

    assert path.is_symlink()
    assert [key.name for key in read_keys(folder / "keys.json")] == ["other"]


def test_two_keys_of_one_id_are_refused(path: Path) -> None:
    add(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"keys": content["keys"] * 2}))

    with pytest.raises(UnusableKeysFile, match="same id"):
        read_keys(path)


def test_a_second_key_of_a_name_is_refused_until_the_first_is_revoked(path: Path) -> None:
    first = add(path)
    with pytest.raises(UnusableKeysFile, match="'web'"):
        add(path)
    assert revoke_key(path, "web").id == key_id(first)

    second = add(path)

    assert second != first
    assert revoke_key(path, str(key_id(second))).name == "web"
    assert read_keys(path) == ()


def test_an_unknown_key_cannot_be_revoked_and_nothing_changes(path: Path) -> None:
    add(path)
    before = path.read_bytes()

    with pytest.raises(UnusableKeysFile, match="it has web"):
        revoke_key(path, "nobody")

    assert path.read_bytes() == before


def test_an_id_that_is_the_name_of_another_key_revokes_neither_and_both_can_be_named_otherwise(path: Path) -> None:
    first = key_id(add(path))
    second = key_id(add(path, str(first)))

    with pytest.raises(UnusableKeysFile, match=f"web .{first}., {first} .{second}."):
        revoke_key(path, str(first))

    assert [key.id for key in read_keys(path)] == [first, second]
    assert revoke_key(path, str(second)).id == second
    assert revoke_key(path, "web").id == first


def test_keys_that_are_added_at_once_are_all_there(path: Path) -> None:
    names = [f"program {number}" for number in range(8)]
    threads = [threading.Thread(target=add, args=(path, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(key.name for key in read_keys(path)) == names
    assert [each.name for each in path.parent.iterdir()] == [path.name]


ADMIN = "open sesame ü"
ADDRESS = "192.0.2.1"


def test_a_key_that_expired_is_refused_like_a_wrong_one(path: Path) -> None:
    _, token = add_key(path, "over", (Scope.GENERATE,), KeyLimits(), datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(Unauthenticated):
        KeyRing(path, None).by_header(f"Bearer {token}", ADDRESS)


@pytest.mark.parametrize("harm", ["truncated", "removed", "readable"])
def test_a_file_that_breaks_keeps_the_keys_and_is_logged(
    path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = add(path)
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
    assert ring.by_header(f"Bearer {token}", ADDRESS).name == "web"


@pytest.mark.parametrize("content", ["{}", '{"keys": []}'])
def test_a_file_that_has_no_keys_any_more_revokes_all_and_says_so_as_an_error(
    path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = add(path)
    ring = KeyRing(path, None)
    path.write_text(content)

    with caplog.at_level(logging.ERROR):
        ring.refresh(path)

    [record] = caplog.records
    assert "no keys any more" in record.message
    assert vars(record)["keys_before"] == 1
    with pytest.raises(Unauthenticated):
        ring.by_header(f"Bearer {token}", ADDRESS)


def test_without_keys_everybody_may_generate_and_foreign_tokens_mean_nothing() -> None:
    ring = KeyRing(None, ADMIN)

    assert ring.by_header("", ADDRESS) is ANYBODY
    assert ring.by_header("Bearer hf_token", ADDRESS) is ANYBODY
    assert ring.by_header(f"Basic {ADMIN}", ADDRESS) is ANYBODY
    assert ring.by_header(ADMIN, ADDRESS) is ANYBODY
    assert ring.by_header(f"Bearer {ADMIN}", ADDRESS) is OPERATOR
    # As a server decodes a header that the client encoded in UTF-8.
    assert ring.by_header(f"Bearer {ADMIN.encode().decode('latin-1')}", ADDRESS) is OPERATOR
    assert ANYBODY.may(Scope.GENERATE)
    assert not ANYBODY.may(Scope.ADMIN)


@pytest.mark.parametrize("admin", [None, ""])
def test_an_empty_operators_token_makes_nobody_an_operator(admin: str | None) -> None:
    ring = KeyRing(None, admin)

    assert ring.by_header("Bearer ", ADDRESS) is ANYBODY
    assert not ring.has_operators


@pytest.mark.parametrize(
    ("address", "other", "is_same_network"),
    [
        pytest.param(ADDRESS, "192.0.2.2", False, id="IPv4"),
        pytest.param("2001:db8::1", "2001:db8::ffff:0:2", True, id="same IPv6 network"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="other IPv6 network"),
        pytest.param("::ffff:192.0.2.1", "::ffff:192.0.2.2", False, id="IPv4 in IPv6"),
    ],
)
def test_after_too_many_guesses_only_wrong_tokens_of_the_network_are_refused_for_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch, address: str, other: str, is_same_network: bool
) -> None:
    token = add(path)
    ring = KeyRing(path, ADMIN)
    # A repeated guess counts once.
    repeated = ["a guess that is repeated"] * 60
    others = [f"slq_{number:043}" for number in range(MAX_GUESSES - 1)]
    for guess in repeated + others:
        assert isinstance(ring.refusal(guess, address), Unauthenticated)

    assert ring.by_header(f"Bearer {token}", address).name == "web"
    assert ring.by_header(f"Bearer {ADMIN}", address) is OPERATOR
    assert isinstance(ring.refusal("wrong", address), Overloaded)
    assert isinstance(ring.refusal("wrong", other), Overloaded) is is_same_network
    later = time.monotonic() + GUESS_SECONDS
    monkeypatch.setattr("slimseq.app.http.callers.time.monotonic", lambda: later)
    assert isinstance(ring.refusal("wrong", address), Unauthenticated)
