"""Damage that tests do to files, and what files hold, to see whether something else damaged them."""

from pathlib import Path

from slimseq.models_store.files import read_manifest, sha256_of, write_manifest
from slimseq.models_store.manifest import digest_of


def flip_bytes(path: Path) -> None:
    """Changes one byte in the middle of a file, whose size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def forge(folder: Path, name: str, content: bytes) -> None:
    """Changes a file of an artifact and what its manifest says of the file, so that it passes verification."""
    path = folder / name
    path.write_bytes(content)
    manifest = read_manifest(folder)
    changed = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    files = [file.model_copy(update=changed) if file.path == name else file for file in manifest.files]
    write_manifest(folder, manifest.model_copy(update={"files": files, "digest": digest_of(files)}))


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of all files below a folder, by their path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
