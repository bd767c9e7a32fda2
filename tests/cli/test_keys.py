"""`slimseq keys` as an operator uses it."""

import json
from pathlib import Path

import pytest

from slimseq.app.http.keys import read_keys
from tests.command_line import compression


def keys(*arguments: object, file: Path) -> tuple[int, str, str]:
    done = compression("keys", *arguments, SLIMSEQ_KEYS_FILE=str(file))
    return done.code, done.out, done.error


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    scopes = ("--scope", "generate", "--scope", "evaluate")
    code, token, said = keys("add", "web", *scopes, "--requests-per-minute", 60, "--expires", "90d", file=file)
    (key,) = read_keys(file)
    listed = keys("list", file=file)[1]
    as_json = json.loads(keys("list", "--json", file=file)[1])
    revoked = keys("revoke", "web", file=file)

    assert code == 0
    assert token.count("\n") == 1
    assert key.is_of(token.strip())
    assert "not shown again" in said
    assert token.strip() not in said
    assert key.id in listed
    assert "60 requests per minute" in listed
    assert key.hash not in listed
    assert as_json[0]["scopes"] == ["generate", "evaluate"]
    assert "hash" not in as_json[0]
    assert revoked[0] == 0
    assert read_keys(file) == ()
    assert "no keys" in keys("list", file=file)[1]


def test_a_name_may_have_brackets(tmp_path: Path) -> None:
    """They are markup of the library that draws the table."""
    file = tmp_path / "keys.json"
    keys("add", "[/] [red]", file=file)

    code, out, _ = keys("list", file=file)

    assert code == 0
    assert "[/] [red]" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "web", "--expires", "tomorrow"), "no day such as 2027-01-31"),
        (("add", "web", "--expires", "9999-12-31"), "no day such as 2027-01-31"),
        (("add", "web", "--expires", "2020-01-31"), "is over already"),
        (("add", "web", "--scope", "all"), "scope"),
        (("add", "web", "--requests-per-minute", "0"), "requests_per_minute"),
        (("add", "a\nb"), "printable"),
        (("revoke", "web"), "keys add"),
        (("list",), "keys add"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, out, error = keys(*arguments, file=tmp_path / "keys.json")

    assert (code, out, error.count("\n")) == (1, "", 1)
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_the_file_must_be_named(tmp_path: Path) -> None:
    assert "SLIMSEQ_KEYS_FILE" in compression("keys", "list", SLIMSEQ_KEYS_FILE="").error
    assert "has no folder" in keys("add", "web", file=tmp_path / "nowhere" / "keys.json")[2]
