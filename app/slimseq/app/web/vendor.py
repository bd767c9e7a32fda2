"""Vendors the libraries of the page: `python -m slimseq.app.web.vendor`, or `make vendor`.

`vendor.json` pins each npm package by version and integrity, and lists the files that the page uses. This command
downloads the packages with npm, checks them, copies those files unchanged to `static/vendor/`, and writes their hashes
to `vendor.json`. A test compares the copies with these hashes, without a network.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LOCK = HERE / "vendor.json"
VENDORED = HERE / "static" / "vendor"


def locked() -> dict[str, Any]:
    """Returns the packages of `vendor.json` by name: version, license, integrity, and the hash of each file."""
    packages: dict[str, Any] = json.loads(LOCK.read_text(encoding="utf-8"))
    return packages


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def vendor() -> None:
    """Replaces `static/vendor/` with the files of the pinned packages.

    Raises:
        ValueError: a package does not match its pinned integrity.
        subprocess.CalledProcessError: npm cannot download a package.
    """
    packages = locked()
    shutil.rmtree(VENDORED, ignore_errors=True)
    for name, package in packages.items():
        with tempfile.TemporaryDirectory() as folder:
            archive = _download(f"{name}@{package['version']}", Path(folder))
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if f"sha512-{digest}" != package["integrity"]:
                raise ValueError(f"{name} {package['version']} does not match its integrity in {LOCK.name}")
            with tarfile.open(archive) as tar:
                package["files"] = {file: _extract(tar, name, file) for file in package["files"]}
    LOCK.write_text(json.dumps(packages, indent=2) + "\n", encoding="utf-8")


def _download(package: str, folder: Path) -> Path:
    pack = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
    subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tgz")
    return archive


def _extract(tar: tarfile.TarFile, name: str, file: str) -> str:
    source = tar.extractfile(f"package/{file}")
    if source is None:
        raise ValueError(f"{name} has no file {file}")
    target = VENDORED / name / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read())
    return sha256_of(target)


if __name__ == "__main__":
    vendor()
    sys.stdout.write(f"Vendored {', '.join(locked())} to {VENDORED}\n")
