"""Whatever a keys file holds, its keys are read or one line says what is wrong with it."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.app.errors import UnusableKeysFile
from slimseq.app.http.keys import Key, read_keys
from tests.anything import altered, json_values

VALID: dict[str, Any] = {
    "keys": [
        {
            "id": "0123abcd",
            "name": "a client",
            "hash": "sha256:" + "0f" * 32,
            "scopes": ["generate", "metrics"],
            "limits": {"requests_per_minute": 3},
            "created_at": "2026-01-02T03:04:05Z",
            "expires_at": None,
        }
    ]
}


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.json"
        file.touch(mode=0o600)
        yield file


def read(file: Path, content: bytes) -> tuple[Key, ...] | None:
    file.write_bytes(content)
    try:
        return read_keys(file)
    except UnusableKeysFile as error:
        said = str(error)
    assert said.startswith(f"keys file {file} ") and "\n" not in said
    return None


def test_the_content_that_is_altered_is_valid(file: Path) -> None:
    assert read(file, json.dumps(VALID).encode()) is not None


@given(content=json_values | altered(VALID))
def test_any_json_is_keys_or_a_clear_error(file: Path, content: object) -> None:
    for key in read(file, json.dumps(content).encode()) or ():
        assert key.matches("slq_0123abcd_" + "x" * 43) is False
        assert key.has_expired in (True, False)


@given(content=st.binary(max_size=60) | st.integers(1, 100_000).map(lambda depth: b"[" * depth))
def test_any_bytes_are_a_clear_error(file: Path, content: bytes) -> None:
    assert not read(file, content)
