"""The Dockerfile, without a container: what hadolint says, and what it copies. `.ci/containers` builds it."""

import re
import shutil
import subprocess
import tomllib

import pytest

from tests.deploy.conftest import ROOT

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
