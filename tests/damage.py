"""Damage that tests do to files, and what files hold, to see whether something else damaged them."""

import json
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


# Backtracks once for each way to divide the words before it, of which there are exponentially many, and finds nothing.
CATASTROPHE = {"type": "Replace", "pattern": {"Regex": r"(?:[\w ]|[\w ])*[.!]\d"}, "content": ""}


def add_catastrophe(folder: Path, part: str) -> None:
    """Adds the pattern to an artifact's tokenizer: to its `normalizer`, for what is encoded, or its `decoder`."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer[part] = {"type": "Sequence", f"{part}s": [tokenizer[part], CATASTROPHE]}
    forge(folder, "tokenizer.json", json.dumps(tokenizer).encode())


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of all files below a folder, by their path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
