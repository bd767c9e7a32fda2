"""Artifacts in a lower layer of an image can be replaced: overlayfs refuses to rename their folders."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

MOUNT = "mount -t overlay overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged"
REPLACE = """
import sys
from pathlib import Path
from slimseq.models_store.manifest import Task
from slimseq.models_store.files import write_manifest
from slimseq.models_store.store import Store

store = Store(Path("merged"))
manifest = store.manifest(Task.TRANSLATION, "original")
with store.writing(Task.TRANSLATION, "original") as folder:
    write_manifest(folder, manifest.model_copy(update={"description": "new"}))
assert store.manifest(Task.TRANSLATION, "original").description == "new"
assert [path.name for path in Path("merged/translation").iterdir()] == ["original"]
assert [path.name for path in store.folder(Task.TRANSLATION, "original").iterdir()] == ["manifest.json"]
"""


def in_namespace(folder: Path, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs a shell command where an overlay may be mounted without being root."""
    unshare = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", f"{MOUNT}; {command}", "sh")
    return subprocess.run([*unshare, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def layers(tmp_path: Path, embedded: Store) -> Path:
    """A folder with an overlay's parts, `translation/original` in the lower one."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    target = Store(tmp_path / "lower").folder(Task.TRANSLATION, "original")
    shutil.copytree(embedded.folder(Task.TRANSLATION, "original"), target)
    if shutil.which("unshare") is None or in_namespace(tmp_path, "true").returncode:
        pytest.skip("no overlay can be mounted here")
    return tmp_path


def test_an_artifact_of_a_lower_layer_is_replaced(layers: Path) -> None:
    done = in_namespace(layers, '"$1" -c "$2"', sys.executable, REPLACE)

    assert done.returncode == 0, done.stderr


def test_where_the_system_refuses_a_rename_an_artifact_is_replaced_too(
    own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = own_store.folder(Task.TRANSLATION, "original")
    rename = Path.replace

    def refused(path: Path, target: Path) -> Path:
        if path == final:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", refused)
    with own_store.writing(Task.TRANSLATION, "original") as folder:
        shutil.copytree(final, folder, dirs_exist_ok=True)
        (folder / "README.md").write_text("new", encoding="utf-8")

    assert (final / "README.md").read_text(encoding="utf-8") == "new"
    assert not [path for path in final.parent.iterdir() if path.name.startswith(".")]
    own_store.verify(Task.TRANSLATION, "original")
