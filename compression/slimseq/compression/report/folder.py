"""Writes a report's files into one folder, atomically: a crash leaves the earlier report or none."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from slimseq.compression.errors import BadParameters

PAGE = "report.html"


def check_folder(folder: Path) -> None:
    """Checks that a report may replace a folder: it is new, empty, or contains only an earlier report.

    Raises:
        BadParameters: it is a file, or contains other files.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadParameters(f"--out {folder} is a file, not a folder")
    foreign = sorted(path.name for path in folder.iterdir() if path.name != PAGE and path.suffix != ".png")
    if foreign:
        raise BadParameters(f"--out {folder} contains {foreign[0]}, which a report would delete: name another folder")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files to a temporary folder and renames it.

    Args:
        folder: the folder of the report; an earlier report is replaced.
        files: contents by file name.

    Raises:
        BadParameters: as `check_folder` does, or the folder cannot be written.
    """
    check_folder(folder)
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
    except OSError as error:
        raise BadParameters(f"--out {folder} cannot be written: {error.strerror}") from error
    old = temporary.with_name(temporary.name + "-old")
    try:
        temporary.chmod(0o755)
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        if folder.exists():
            folder.replace(old)
        try:
            temporary.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
