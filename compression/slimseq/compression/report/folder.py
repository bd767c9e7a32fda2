"""Writes a report's files as one folder: a crash leaves the earlier report or none."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from slimseq.compression.errors import BadParameters

PAGE = "report.html"


def check_folder(folder: Path) -> None:
    """Checks that a report may take a folder's place: it is new, empty, or holds an earlier report and nothing else.

    Raises:
        BadParameters: it is a file, or holds something that would be lost.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadParameters(f"--out {folder} is a file, not a folder")
    foreign = sorted(path.name for path in folder.iterdir() if path.name != PAGE and path.suffix != ".png")
    if foreign:
        raise BadParameters(f"--out {folder} holds {foreign[0]}, which a report would replace: name another folder")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files to a temporary folder beside the place, and puts it there in one rename.

    Args:
        folder: where the report goes; what is there is replaced.
        files: contents by name, without folders.

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
    aside = temporary.with_name(temporary.name + "-old")
    try:
        temporary.chmod(0o755)
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        if folder.exists():
            folder.replace(aside)
        try:
            temporary.replace(folder)
        except OSError:
            if aside.exists():
                aside.replace(folder)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
