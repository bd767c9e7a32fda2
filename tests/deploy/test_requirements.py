"""What the image is built from: locks that are complete, with hashes and from PyPI alone, and the Dockerfile."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.deploy.conftest import ROOT

LOCKS = ROOT / "deploy" / "requirements"
# The extras that each lock holds.
EXTRAS = {"serving": ("postgres", "redis"), "compress": ("postgres", "redis", "compress")}
PIN = re.compile(r"^([a-z0-9-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)


def pins(path: Path) -> dict[str, set[str]]:
    """Returns the versions of each package: several where they depend on the Python."""
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall(path.read_text(encoding="utf-8")):
        found.setdefault(name, set()).add(version)
    return found


def asked_for(lock: str) -> list[Requirement]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"]]
    for extra in EXTRAS[lock]:
        texts += project["optional-dependencies"][extra]
    return [each for each in map(Requirement, texts) if each.name != "torch"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", EXTRAS)
def test_the_lock_has_what_the_project_asks_for(lock: str) -> None:
    pinned = pins(LOCKS / f"{lock}.txt")

    wrong = [
        str(each)
        for each in asked_for(lock)
        if not all(each.specifier.contains(version) for version in pinned.get(normal(each.name), {"none"}))
        or normal(each.name) not in pinned
    ]

    assert wrong == [], "run `make lock`"


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_package_has_hashes_and_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))

    assert len(blocks) > 10
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block.splitlines()[0]
    assert "://" not in text and "--find-links" not in text and "--index" not in text


def test_both_locks_pin_the_same_versions_and_no_training_library_serves() -> None:
    serving, compress = pins(LOCKS / "serving.txt"), pins(LOCKS / "compress.txt")

    assert {name: compress.get(name) for name in serving} == serving
    assert not {"torch", "transformers", "optimum", "datasets"} & set(serving)
    assert "torch" not in compress


DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint, which PyPI has for Linux on x86-64")
def test_hadolint_finds_nothing() -> None:
    checked = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)

    assert checked.returncode == 0 and not checked.stdout, checked.stdout + checked.stderr


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    let_in = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    copied = [
        source for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]
    ]

    assert len(copied) > 10
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any((ROOT / source).match(each) or source.startswith(f"{each}/") for each in let_in), source


def test_every_room_of_the_project_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        room = package.split("/")[0]
        assert re.search(rf"^COPY {room}(/\S+)? ", DOCKERFILE, re.MULTILINE), room


def test_the_image_says_which_version_it_is_and_runs_as_nobody() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    serve = DOCKERFILE.rpartition("\nFROM ")[2]

    assert f'org.opencontainers.image.version="{project["version"]}"' in serve
    assert "\nUSER 10001\n" in serve and "\nSTOPSIGNAL SIGTERM\n" in serve and "\nHEALTHCHECK " in serve
