"""Computes the key of a step: a hash of its parent, options, seed and data.

A step is not run again if an artifact has its key in the lineage.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from slimseq.models_store.files import sha256_of
from slimseq.models_store.model_folder import check_model_folder

# Increase it when results change for the same options: all steps are then outdated.
KEY_VERSION = 1


def key_of(*parts: Any) -> str:
    """Returns the hash of JSON values, `sha256:` and 64 digits."""
    text = json.dumps([KEY_VERSION, *parts], sort_keys=True, separators=(",", ":"), default=_plain)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def data_digest(names: Sequence[str]) -> list[str]:
    """Returns one hash for each named file; a name that is not a file is returned unchanged."""
    digests = []
    for name in names:
        paths = data_files(name)
        digests += [_file_digest(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths] or [name]
    return digests


def data_files(name: str) -> list[Path]:
    """Returns the file of a data name, or both files of parallel text; nothing if the name is not of files."""
    # The name of two parallel texts has a colon.
    parts = [name] if Path(name).exists() else name.split(":")
    paths = [Path(part) for part in parts]
    return paths if all(path.is_file() for path in paths) else []


def folder_digest(folder: Path) -> list[str]:
    """Returns the hashes of the files in a model folder, without subfolders.

    Raises:
        BadSource: a file is refused, such as a link that leaves the folder.
    """
    check_model_folder(folder)
    return data_digest([str(path) for path in sorted(folder.iterdir()) if path.is_file()])


@lru_cache(maxsize=256)
def _file_digest(path: Path, _changed: int, _size: int) -> str:
    return sha256_of(path)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
