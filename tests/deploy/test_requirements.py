"""The locks that the image is built from: complete, with hashes, and from PyPI alone."""

import re
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
