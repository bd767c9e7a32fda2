"""The libraries of the page, which are copied into the repository: their files are the original ones, with licences."""

import hashlib
import json
from pathlib import Path

APP = Path(__file__).parents[3] / "app"
VENDORED = APP / "slimseq" / "app" / "web" / "static" / "vendor"


def test_vendored_files_have_their_recorded_digests() -> None:
    # Lines of `sha256sum`: the digest, two spaces, and the path.
    lines = [line.split("  ./") for line in (APP / "vendored.sha256").read_text(encoding="utf-8").splitlines()]

    found = {
        path.relative_to(VENDORED).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDORED.rglob("*")
        if path.is_file()
    }

    assert found == {name: digest for digest, name in lines}


def test_every_package_is_pinned_and_vendored_with_its_licence() -> None:
    locked = json.loads((APP / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    for folder in VENDORED.iterdir():
        package = locked[f"node_modules/{folder.name}"]
        assert package["license"] in ("MIT", "BSD-3-Clause", "Apache-2.0", "ISC")
        assert package["integrity"].startswith("sha512-") and (folder / "LICENSE").is_file()
