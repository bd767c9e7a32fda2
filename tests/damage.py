"""Damages artifacts as tests need it, and reads all bytes of a folder, to see whether something else changed them."""

import json
from pathlib import Path

from slimseq.models_store.files import read_manifest, sha256_of, write_manifest
from slimseq.models_store.manifest import digest_of


def flip_bytes(path: Path) -> None:
    """Changes one byte in the middle of a file. The file keeps its size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def forge(folder: Path, name: str, content: bytes) -> None:
    """Replaces a file of an artifact, and its size and digest in the manifest, so that it passes verification."""
    path = folder / name
    path.write_bytes(content)
    manifest = read_manifest(folder)
    changed = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    files = [file.model_copy(update=changed) if file.path == name else file for file in manifest.files]
    write_manifest(folder, manifest.model_copy(update={"files": files, "digest": digest_of(files)}))


# A decoder that makes the library `tokenizers` panic: it strips up to 50 full stops of the end of a token. If a token
# has only full stops, the library reads before its first character.
PANICKING_DECODER = {"type": "Strip", "content": ".", "start": 0, "stop": 50}


def add_panic(folder: Path) -> None:
    """Changes the tokenizer of an artifact so that its library panics when it decodes a full stop."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [PANICKING_DECODER, tokenizer["decoder"]]}
    forge(folder, "tokenizer.json", json.dumps(tokenizer).encode())


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of all files below a folder, by their path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
