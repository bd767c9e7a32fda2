"""`slimseq keys` as an operator uses it."""

from pathlib import Path

import pytest

from slimseq.app.http.keys import read_keys
from tests.command_line import Finished, compression

ADD = ("add", "web", "--scope", "generate", "--scope", "evaluate", "--requests-per-minute", 60, "--expires", "90d")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of the keys file, which does not exist yet."""
    return tmp_path / "keys.json"


def keys(*arguments: object, file: Path) -> Finished:
    return compression("keys", *arguments, SLIMSEQ_KEYS_FILE=str(file))


def test_the_token_of_a_new_key_is_printed_alone_and_once(file: Path) -> None:
    added = keys(*ADD, file=file)

    assert added.code == 0
    [token] = added.out.splitlines()
    [key] = read_keys(file)
    assert key.is_of(token)
    assert "not shown again" in added.error
    assert token not in added.error


def test_a_key_is_listed_with_its_limits_and_without_its_hash(file: Path) -> None:
    keys(*ADD, file=file)

    listed = keys("list", file=file)

    [key] = read_keys(file)
    assert key.id in listed.out
    assert "60 requests per minute" in listed.out
    assert key.hash not in listed.out


def test_a_key_is_listed_as_json_without_its_hash(file: Path) -> None:
    keys(*ADD, file=file)

    listed = keys("list", "--json", file=file)

    [key] = listed.json
    assert key["scopes"] == ["generate", "evaluate"]
    assert "hash" not in key


def test_a_revoked_key_is_removed(file: Path) -> None:
    keys(*ADD, file=file)

    revoked = keys("revoke", "web", file=file)

    assert revoked.code == 0
    assert read_keys(file) == ()
    assert "no keys" in keys("list", file=file).out


def test_a_name_may_have_brackets_which_are_markup_for_the_library_that_draws_the_table(file: Path) -> None:
    keys("add", "[/] [red]", file=file)

    listed = keys("list", file=file)

    assert listed.code == 0
    assert "[/] [red]" in listed.out


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
def test_bad_input_is_one_line_and_leaves_nothing(file: Path, arguments: tuple[str, ...], said: str) -> None:
    refused = keys(*arguments, file=file)

    assert refused.code == 1
    assert refused.out == ""
    assert refused.error.count("\n") == 1
    assert said in refused.error
    assert list(file.parent.iterdir()) == []


def test_the_file_must_be_named() -> None:
    assert "SLIMSEQ_KEYS_FILE" in compression("keys", "list", SLIMSEQ_KEYS_FILE="").error


def test_the_folder_of_the_file_must_exist(tmp_path: Path) -> None:
    assert "has no folder" in keys("add", "web", file=tmp_path / "nowhere" / "keys.json").error
