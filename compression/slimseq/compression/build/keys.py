"""What a step depends on, as one hash: its parent's files, its options, its seed, and the content of its data.

A step whose key stands in an artifact's lineage needs not be done again.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

# Raised when a technique's results change although its options do not: everything is then stale.
KEY_VERSION = 1


def key_of(*parts: Any) -> str:
    """Returns the hash of some values that JSON can hold, `sha256:` and 64 digits."""
    text = json.dumps([KEY_VERSION, *parts], sort_keys=True, separators=(",", ":"), default=_plain)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def data_digest(names: Sequence[str]) -> list[str]:
    """Returns one hash for each file that the names mean; a name that is no file stands for itself."""
    digests = []
    for name in names:
        # Two parallel texts are one name with a colon in it.
        paths = [Path(part) for part in ([name] if Path(name).exists() else name.split(":"))]
        if all(path.is_file() for path in paths):
            digests += [_file_digest(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
        else:
            digests.append(name)
    return digests


def folder_digest(folder: Path) -> list[str]:
    """Returns the hashes of a model folder's own files."""
    return data_digest([str(path) for path in sorted(folder.iterdir()) if path.is_file()])


@lru_cache(maxsize=256)
def _file_digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
