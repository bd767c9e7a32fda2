"""A folder from a stranger leads to no other file of the machine, and fills neither its disk nor its memory."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from slimseq.models_store.errors import BadSource
from slimseq.models_store.model_folder import check_model_folder, copy_from_folder, open_regular, read_regular

CONTENT = '{"a": 1}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text(CONTENT)
    return made


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("root:x:0:0")
    return path


def link_out(path: Path) -> None:
    path.symlink_to(path.parents[1] / "secret")


def link_out_in_two_steps(path: Path) -> None:
    (path.parent / "inner").symlink_to(path.parents[1] / "secret")
    path.symlink_to("inner")


def link_through_a_folder(path: Path) -> None:
    (path.parent / "up").symlink_to("..")
    path.symlink_to("up/secret")


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_nowhere(path: Path) -> None:
    path.symlink_to("absent")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


def make_large(path: Path) -> None:
    path.touch()
    os.truncate(path, 10 * 2**30)


# How `vocab.json` is made, and what the error says.
REFUSED = [
    (link_out, "leaves the folder, to"),
    (link_out_in_two_steps, "leaves the folder, to"),
    (link_through_a_folder, "leaves the folder, to"),
    (link_to_a_device, "leaves the folder, to /dev/zero"),
    (link_nowhere, "leads nowhere"),
    (link_to_itself, "leads nowhere"),
    (make_pipe, "it is a pipe and not a regular file"),
    (make_socket, "it is a socket and not a regular file"),
    (make_large, "it has 10,737,418,240 bytes, and such a file has at most 134,217,728"),
]


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(("damage", "said"), REFUSED)
def test_a_file_that_is_outside_of_the_folder_or_not_regular_or_too_large_is_refused_with_its_name(
    folder: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(folder / "vocab.json")

    with pytest.raises(BadSource, match=r"model/(vocab\.json|inner|up) cannot be imported: .*") as refused:
        check_model_folder(folder)
    with pytest.raises(BadSource, match=r"model/vocab\.json cannot be imported: .*"):
        copy_from_folder(folder, "vocab.json", folder.parent / "copy")

    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert not (folder.parent / "copy").exists()


def test_weights_of_holes_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").touch()
    os.truncate(folder / "model.safetensors", 2**40)

    with pytest.raises(
        BadSource, match=r"model\.safetensors cannot be imported: it is sparse: 1,099,511,627,776 bytes"
    ):
        check_model_folder(folder)


def test_links_inside_the_folder_and_inside_a_hubs_cache_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "hash").write_text(CONTENT)
    (snapshot / "config.json").symlink_to("../../blobs/hash")
    (snapshot / "same.json").symlink_to("config.json")
    (tmp_path / "elsewhere").symlink_to(snapshot)

    for folder in (snapshot, tmp_path / "elsewhere"):
        check_model_folder(folder)
        copy_from_folder(folder, "same.json", tmp_path / "copy.json")
        assert (tmp_path / "copy.json").read_text() == CONTENT


@pytest.mark.parametrize("target", ["../../../secret", "../../refs/main", "../other/config.json"])
def test_a_link_that_leaves_the_contents_of_a_hubs_cache_is_refused(tmp_path: Path, secret: Path, target: str) -> None:
    repository = tmp_path / "models--owner--name"
    for name in ("snapshots/0123abcd", "snapshots/other", "blobs", "refs"):
        (repository / name).mkdir(parents=True)
    for name in ("refs/main", "snapshots/other/config.json"):
        (repository / name).write_text(CONTENT)
    (repository / "snapshots" / "0123abcd" / "vocab.json").symlink_to(target)
    # A content that is a link itself.
    (repository / "blobs" / "hash").symlink_to(secret)
    (repository / "snapshots" / "other" / "vocab.json").symlink_to("../../blobs/hash")

    for folder in ("0123abcd", "other"):
        with pytest.raises(BadSource, match=r"vocab\.json cannot be imported: it is a link that leaves the folder"):
            check_model_folder(repository / "snapshots" / folder)


def test_a_file_that_no_library_reads_is_ignored(folder: Path) -> None:
    (folder / ".#config.json").symlink_to("somebody@a-host.1234")
    (folder / "runs").mkdir()

    check_model_folder(folder)


def test_a_pipe_or_a_folder_that_takes_the_place_of_a_file_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")

    for path, kind in ((folder / "pipe.json", "a pipe"), (folder, "a folder")):
        with pytest.raises(OSError, match=f"it is {kind} and not a regular file"), open_regular(path):
            pass
    assert read_regular(folder / "config.json") == CONTENT.encode()


def test_a_link_that_takes_the_place_of_a_checked_file_is_not_followed(
    folder: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "vocab.json").write_text(CONTENT)
    opened = os.open

    def swapped(path: Path, flags: int, *more: int, **options: int) -> int:
        """Runs after the path was checked and before it is opened."""
        (folder / "vocab.json").unlink()
        (folder / "vocab.json").symlink_to(secret)
        return opened(path, flags, *more, **options)

    monkeypatch.setattr("slimseq.models_store.model_folder.os.open", swapped)
    with pytest.raises(BadSource, match=r"model/vocab\.json cannot be imported"):
        copy_from_folder(folder, "vocab.json", folder.parent / "copy")
    monkeypatch.undo()

    assert not (folder.parent / "copy").exists()
